/* POST /introspect (RFC 7662): whether a token is active, and its claims if the asker may know. */
#ifndef AUTH_ENDPOINT_INTROSPECT_H
#define AUTH_ENDPOINT_INTROSPECT_H

#include <h2o.h>

void introspect_handle(h2o_req_t *req);

#endif
