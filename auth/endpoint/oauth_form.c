#include "auth/endpoint/oauth_form.h"

#include "auth/endpoint/oauth_reply.h"
#include "common/http/connection.h"
#include "common/http/request.h"

/* RFC 8707 2; `audience` is other servers' name for the same. */
static const char *const repeatable[] = {"resource", "audience", NULL};

static const char *complaint(enum form_error error)
{
    switch (error) {
    case FORM_BAD_ESCAPE:
        return "The body has a % that two hex digits do not follow.";
    case FORM_NUL:
        return "The body has a NUL byte.";
    case FORM_DUPLICATE:
        return "A parameter is repeated; only resource and audience may be.";
    default:
        return "The body has too many parameters.";
    }
}

bool oauth_form_read(h2o_req_t *req, const char *when_empty, struct form *form)
{
    enum form_error error;

    if (req->entity.len > OAUTH_FORM_MAX) {
        oauth_reply_error_with_status(req, OAUTH_INVALID_REQUEST, 413, CONNECTION_BODY_COMPLAINT);
        return false;
    }
    if (!request_has_type(req, SLICE("application/x-www-form-urlencoded"))) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "Send one Content-Type: application/x-www-form-urlencoded.");
        return false;
    }
    if (req->entity.len == 0) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, when_empty);
        return false;
    }
    error = form_parse(req->entity.base, req->entity.len, repeatable, form);
    if (error != FORM_OK) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, complaint(error));
        return false;
    }
    return true;
}
