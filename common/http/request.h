/* Headers of a request that libh2o has no token for. */
#ifndef COMMON_HTTP_REQUEST_H
#define COMMON_HTTP_REQUEST_H

#include <h2o.h>

#include "common/slice.h"

/* The value of the first one of this name, in lower case; empty when there is none. */
static inline struct slice request_header(const h2o_req_t *req, struct slice name)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, name.bytes, name.length, -1);

    return at == -1 ? SLICE("")
                    : (struct slice){req->headers.entries[at].value.base,
                                     req->headers.entries[at].value.len};
}

#endif
