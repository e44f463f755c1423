/* Why a client was not authenticated. For the operator only: the answer to a client does not
 * distinguish an unknown id from a wrong secret.
 */
#ifndef AUTH_CLIENT_AUTH_FAILURE_H
#define AUTH_CLIENT_AUTH_FAILURE_H

enum auth_failure {
    AUTH_UNKNOWN_CLIENT,
    AUTH_WRONG_SECRET,
    AUTH_EXPIRED_SECRET,
    AUTH_DISABLED_CLIENT,
    AUTH_DISABLED_ORGANIZATION,
    AUTH_MALFORMED_SECRET,
    AUTH_MALFORMED_CREDENTIALS, /* in the Basic header */
    AUTH_NO_CREDENTIALS,
    AUTH_FAILURE_COUNT,
};

/* The value of `reason` in metrics and in the log. */
const char *auth_failure_name(enum auth_failure reason);

#endif
