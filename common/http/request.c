#include "common/http/request.h"

#include <openssl/crypto.h>
#include <string.h>
#include <strings.h>

static struct slice value_at(const h2o_req_t *req, ssize_t at)
{
    const h2o_iovec_t *value;

    if (at == -1)
        return SLICE("");
    value = &req->headers.entries[at].value;
    return (struct slice){value->base, value->len};
}

struct slice request_header(const h2o_req_t *req, struct slice name)
{
    return value_at(req, h2o_find_header_by_str(&req->headers, name.bytes, name.length, -1));
}

bool request_single_header(const h2o_req_t *req, const h2o_token_t *name, struct slice *value)
{
    ssize_t at = h2o_find_header(&req->headers, name, -1);

    *value = value_at(req, at);
    return at == -1 || h2o_find_header(&req->headers, name, at) == -1;
}

bool request_has_method(const h2o_req_t *req, struct slice method)
{
    return slice_equal((struct slice){req->method.base, req->method.len}, method);
}

bool request_has_type(const h2o_req_t *req, struct slice type)
{
    struct slice given;

    if (!request_single_header(req, H2O_TOKEN_CONTENT_TYPE, &given) || given.length < type.length ||
        strncasecmp(given.bytes, type.bytes, type.length) != 0)
        return false;
    return given.length == type.length || strchr("; \t", given.bytes[type.length]);
}

struct slice request_keep(h2o_req_t *req, struct slice text)
{
    return (struct slice){h2o_strdup(&req->pool, text.bytes, text.length).base, text.length};
}

void request_wipe_authorization(h2o_req_t *req)
{
    ssize_t at = -1;

    while ((at = h2o_find_header(&req->headers, H2O_TOKEN_AUTHORIZATION, at)) != -1) {
        const h2o_iovec_t *value = &req->headers.entries[at].value;

        OPENSSL_cleanse(value->base, value->len);
    }
}

void request_wipe(h2o_req_t *req)
{
    OPENSSL_cleanse(req->entity.base, req->entity.len);
    request_wipe_authorization(req);
}
