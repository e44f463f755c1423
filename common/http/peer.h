/* Which address a request comes from, as far as that can be known. */
#ifndef COMMON_HTTP_PEER_H
#define COMMON_HTTP_PEER_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/network.h"

/* The address at the other end of the connection; when it is that of a trusted proxy
 * (JOTD_TRUSTED_PROXIES), the last hop in X-Forwarded-For that is none. What stands before that hop
 * may have been made up by the client, and so may the whole header when nobody trusted sent it. */
struct network_address peer_of(const h2o_req_t *req);

/* Whether the request comes from this host itself, over loopback, and no proxy says that it passes
 * on somebody else's (Forwarded, X-Forwarded-*, Via). */
MUST_USE bool peer_is_this_host(const h2o_req_t *req);

#endif
