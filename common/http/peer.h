/* The address that a request comes from, as far as it can be known. */
#ifndef COMMON_HTTP_PEER_H
#define COMMON_HTTP_PEER_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/network.h"

/* The address at the other end of the connection; when that is a trusted proxy
 * (JOTD_TRUSTED_PROXIES), the last hop in X-Forwarded-For that is not one. The client may have
 * forged anything before that hop, and the whole header when no trusted proxy sent it. */
struct network_address peer_of(const h2o_req_t *req);

/* Whether the request comes from this host over loopback, and no header says that a proxy forwards
 * it (Forwarded, X-Forwarded-*, Via). */
MUST_USE bool peer_is_this_host(const h2o_req_t *req);

#endif
