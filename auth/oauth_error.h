/* Errors of the OAuth endpoints: RFC 6749 5.2, RFC 8707 2, and some of our own. */
#ifndef AUTH_OAUTH_ERROR_H
#define AUTH_OAUTH_ERROR_H

enum oauth_error {
    OAUTH_INVALID_REQUEST,
    OAUTH_UNSUPPORTED_GRANT_TYPE,
    OAUTH_INVALID_CLIENT,
    OAUTH_UNAUTHORIZED_CLIENT,
    OAUTH_SLOW_DOWN,
    OAUTH_INVALID_SCOPE,
    OAUTH_INVALID_TARGET,
    OAUTH_RATE_LIMIT_EXCEEDED,
    OAUTH_TEMPORARILY_UNAVAILABLE,
    OAUTH_ERROR_COUNT,
};

/* The response's `error`, and the label in metrics. */
const char *oauth_error_name(enum oauth_error error);

/* The HTTP status of the response. */
int oauth_error_status(enum oauth_error error);

#endif
