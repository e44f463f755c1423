/* Discovery for clients and verifiers: RFC 8414 metadata, the JWK set, OpenAPI. */
#ifndef AUTH_ENDPOINT_DISCOVERY_H
#define AUTH_ENDPOINT_DISCOVERY_H

#include <h2o.h>

void discovery_handle_metadata(h2o_req_t *req);
void discovery_handle_jwks(h2o_req_t *req);
void discovery_handle_openapi(h2o_req_t *req);

#endif
