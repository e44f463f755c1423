/* POST /revoke (RFC 7009): a client takes back a token of its own. */
#ifndef AUTH_ENDPOINT_REVOKE_H
#define AUTH_ENDPOINT_REVOKE_H

#include <h2o.h>

void revoke_handle(h2o_req_t *req);

#endif
