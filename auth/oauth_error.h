/* The errors of the endpoints of OAuth: RFC 6749 5.2, RFC 8707 2, and some of our own. */
#ifndef AUTH_OAUTH_ERROR_H
#define AUTH_OAUTH_ERROR_H

enum oauth_error {
    OAUTH_INVALID_REQUEST,
    OAUTH_UNSUPPORTED_GRANT_TYPE,
    OAUTH_INVALID_CLIENT,
    OAUTH_SLOW_DOWN,
    OAUTH_INVALID_SCOPE,
    OAUTH_INVALID_TARGET,
    OAUTH_RATE_LIMIT_EXCEEDED,
    OAUTH_TEMPORARILY_UNAVAILABLE,
    OAUTH_ERROR_COUNT,
};

/* As `error` in the answer, and as the label of the metrics. */
const char *oauth_error_name(enum oauth_error error);

/* The status that it is answered with. */
int oauth_error_status(enum oauth_error error);

#endif
