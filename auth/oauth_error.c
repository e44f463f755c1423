#include "auth/oauth_error.h"

static const struct {
    const char *name;
    int status;
} errors[OAUTH_ERROR_COUNT] = {
    [OAUTH_INVALID_REQUEST] = {"invalid_request", 400},
    [OAUTH_UNSUPPORTED_GRANT_TYPE] = {"unsupported_grant_type", 400},
    [OAUTH_INVALID_CLIENT] = {"invalid_client", 401},
    [OAUTH_UNAUTHORIZED_CLIENT] = {"unauthorized_client", 400},
    [OAUTH_SLOW_DOWN] = {"slow_down", 429},
    [OAUTH_INVALID_SCOPE] = {"invalid_scope", 400},
    [OAUTH_INVALID_TARGET] = {"invalid_target", 400},
    [OAUTH_RATE_LIMIT_EXCEEDED] = {"rate_limit_exceeded", 429},
    [OAUTH_TEMPORARILY_UNAVAILABLE] = {"temporarily_unavailable", 503},
};

const char *oauth_error_name(enum oauth_error error)
{
    return errors[error].name;
}

int oauth_error_status(enum oauth_error error)
{
    return errors[error].status;
}
