#include "common/http/cors.h"

#include <string.h>

#include "common/http/http.h"
#include "common/http/origin.h"
#include "common/http/reply.h"
#include "common/http/request.h"

/* Headers that a page may read besides the safelisted ones. */
#define EXPOSED                                                                                    \
    SLICE("ETag, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Cache-Status, "     \
          "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset")

static bool is_preflight(const h2o_req_t *req)
{
    return request_has_method(req, SLICE("OPTIONS")) &&
           request_header(req, SLICE("access-control-request-method")).length != 0;
}

static void answer_preflight(h2o_req_t *req, const char *methods)
{
    REPLY_HEADER(req, "access-control-allow-methods", "Access-Control-Allow-Methods",
                 slice_of(methods));
    REPLY_HEADER(req, "access-control-allow-headers", "Access-Control-Allow-Headers",
                 SLICE("Authorization, Content-Type"));
    REPLY_HEADER(req, "access-control-max-age", "Access-Control-Max-Age", SLICE("600"));
    reply(req, 204, SLICE(""), SLICE(""));
}

bool cors_begin(h2o_req_t *req, enum cors cors, const char *methods)
{
    const char *origins = http_loop_of(req)->http->cors_origins;
    struct slice allowed = SLICE("*");

    if (cors == CORS_NONE || (cors == CORS_LISTED && origins == NULL))
        return false;
    if (cors == CORS_LISTED) {
        REPLY_HEADER(req, "vary", "Vary", SLICE("Origin"));
        allowed = origin_list_find(origins, request_header(req, SLICE("origin")));
        if (allowed.length == 0)
            return false;
    }
    REPLY_HEADER(req, "access-control-allow-origin", "Access-Control-Allow-Origin", allowed);
    if (is_preflight(req)) {
        answer_preflight(req, methods);
        return true;
    }
    REPLY_HEADER(req, "access-control-expose-headers", "Access-Control-Expose-Headers", EXPOSED);
    return false;
}
