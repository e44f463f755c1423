/* Why a client was not authenticated. For the operator only: clients get one answer for all. */
#ifndef AUTH_CLIENT_AUTH_FAILURE_H
#define AUTH_CLIENT_AUTH_FAILURE_H

enum auth_failure {
    AUTH_UNKNOWN_CLIENT,
    AUTH_WRONG_SECRET,
    AUTH_EXPIRED_SECRET,
    AUTH_DISABLED_CLIENT,
    AUTH_MALFORMED_SECRET,
    AUTH_MALFORMED_CREDENTIALS, /* of Basic */
    AUTH_NO_CREDENTIALS,
    AUTH_FAILURE_COUNT,
};

/* As the label `reason` of the metrics, and in the log. */
const char *auth_failure_name(enum auth_failure reason);

#endif
