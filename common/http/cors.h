/* Which pages of other origins may read our answers (Fetch, "CORS protocol"): none, all, or those
 * of the listed origins (cors_origins in struct http).
 */
#ifndef COMMON_HTTP_CORS_H
#define COMMON_HTTP_CORS_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"

enum cors {
    CORS_NONE,
    CORS_EVERYONE,
    CORS_LISTED,
};

/* Adds the headers that allow the page to read the answer; call it before the answer is made. True
 * when the request is a preflight, which is then answered. `methods` are those of the path. */
MUST_USE bool cors_begin(h2o_req_t *req, enum cors cors, const char *methods);

#endif
