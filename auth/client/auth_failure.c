#include "auth/client/auth_failure.h"

static const char *const names[AUTH_FAILURE_COUNT] = {
    [AUTH_UNKNOWN_CLIENT] = "unknown_client",
    [AUTH_WRONG_SECRET] = "wrong_secret",
    [AUTH_EXPIRED_SECRET] = "expired_secret",
    [AUTH_DISABLED_CLIENT] = "disabled_client",
    [AUTH_DISABLED_ORGANIZATION] = "disabled_organization",
    [AUTH_MALFORMED_SECRET] = "malformed_secret",
    [AUTH_NO_CREDENTIALS] = "no_credentials",
    [AUTH_MALFORMED_CREDENTIALS] = "malformed_credentials",
};

const char *auth_failure_name(enum auth_failure reason)
{
    return names[reason];
}
