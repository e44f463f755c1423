/* Reading a request for a token: see authenticate.h. */
#include "auth/endpoint/authenticate.h"

#include <openssl/crypto.h>
#include <string.h>

#include "auth/endpoint/oauth_reply.h"
#include "common/http/connection.h"

/* The value of a header that may come once at most; false when it comes twice. */
static bool single_header(const h2o_req_t *req, const h2o_token_t *name, struct slice *value)
{
    ssize_t at = h2o_find_header(&req->headers, name, -1);

    *value = (struct slice){"", 0};
    if (at == -1)
        return true;
    *value =
        (struct slice){req->headers.entries[at].value.base, req->headers.entries[at].value.len};
    return h2o_find_header(&req->headers, name, at) == -1;
}

static bool is_form(struct slice content_type)
{
    struct slice form = SLICE("application/x-www-form-urlencoded");

    if (content_type.length < form.length ||
        strncasecmp(content_type.bytes, form.bytes, form.length) != 0)
        return false;
    return content_type.length == form.length || strchr("; \t", content_type.bytes[form.length]);
}

static const char *form_complaint(enum form_error error)
{
    switch (error) {
    case FORM_BAD_ESCAPE:
        return "The body has a % that two hex digits do not follow.";
    case FORM_NUL:
        return "The body has a NUL byte.";
    case FORM_DUPLICATE:
        return "A parameter is there twice; only resource and audience may repeat.";
    default:
        return "The body has too many parameters.";
    }
}

/* Reads the body into `form`; answers and returns false when that cannot be. */
static bool read_form(h2o_req_t *req, struct form *form)
{
    struct slice content_type;
    enum form_error error;

    if (req->entity.len > TOKEN_MAX_BODY) {
        oauth_reply_error_with_status(req, OAUTH_INVALID_REQUEST, 413, CONNECTION_BODY_COMPLAINT);
    } else if (!single_header(req, H2O_TOKEN_CONTENT_TYPE, &content_type) ||
               !is_form(content_type)) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "Send one Content-Type: application/x-www-form-urlencoded.");
    } else if (req->entity.len == 0) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "Send grant_type=client_credentials in the body.");
    } else if ((error = form_parse(req->entity.base, req->entity.len, form)) != FORM_OK) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, form_complaint(error));
    } else if (form->grant_type.length == 0) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "grant_type is missing; send client_credentials.");
    } else if (!slice_equal(form->grant_type, SLICE("client_credentials"))) {
        oauth_reply_error(req, OAUTH_UNSUPPORTED_GRANT_TYPE,
                          "The only grant_type here is "
                          "client_credentials.");
    } else {
        return true;
    }
    return false;
}

/* Reads the credentials; answers and returns false when there are none. */
static bool read_credentials(h2o_req_t *req, const struct form *form,
                             struct credentials *credentials)
{
    struct slice authorization;
    enum credentials_error error;

    if (!single_header(req, H2O_TOKEN_AUTHORIZATION, &authorization)) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, "Send one Authorization header.");
        return false;
    }
    error = credentials_read(authorization, form, credentials);
    switch (error) {
    case CREDENTIALS_OK:
        return true;
    case CREDENTIALS_NONE:
        token_note_failure(req, AUTH_NO_CREDENTIALS, form->client_id);
        oauth_reply_invalid_client(req);
        break;
    case CREDENTIALS_CONTROL:
        token_note_failure(req, AUTH_MALFORMED_CREDENTIALS, credentials->id);
        oauth_reply_error(
            req, OAUTH_INVALID_REQUEST,
            "The Basic credentials hold a control character, such as the line end of the "
            "file that they are read from: send them without it.");
        break;
    case CREDENTIALS_MALFORMED:
        token_note_failure(req, AUTH_MALFORMED_CREDENTIALS, form->client_id);
        oauth_reply_error(
            req, OAUTH_INVALID_REQUEST,
            "The Basic credentials cannot be read: send base64 of id, colon and secret, each "
            "form-encoded.");
        break;
    case CREDENTIALS_TWO_METHODS:
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "Send the credentials either by HTTP Basic or in the body, not both.");
        break;
    }
    return false;
}

static void wipe(struct slice secret)
{
    OPENSSL_cleanse((char *)secret.bytes, secret.length);
}

/* All of them: a second one is refused, but may be right. */
static void wipe_authorization(h2o_req_t *req)
{
    ssize_t at = -1;

    while ((at = h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, at)) != -1) {
        const h2o_iovec_t *value = &req->headers.entries[at].value;

        wipe((struct slice){value->base, value->len});
    }
}

void token_wipe(h2o_req_t *req, struct form *form, struct credentials *credentials)
{
    wipe(form->client_secret);
    OPENSSL_cleanse(credentials->basic, sizeof(credentials->basic));
    wipe_authorization(req);
}

void token_wipe_unread(h2o_req_t *req)
{
    wipe((struct slice){req->entity.base, req->entity.len});
    wipe_authorization(req);
}

bool token_read(h2o_req_t *req, struct form *form, struct credentials *credentials)
{
    if (!read_form(req, form)) {
        token_wipe_unread(req);
        return false;
    }
    if (read_credentials(req, form, credentials))
        return true;
    token_wipe(req, form, credentials);
    return false;
}
