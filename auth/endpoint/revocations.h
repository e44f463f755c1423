/* GET /revocations: the revoked tokens, for verifiers that stay offline. */
#ifndef AUTH_ENDPOINT_REVOCATIONS_H
#define AUTH_ENDPOINT_REVOCATIONS_H

#include <h2o.h>

void revocations_handle(h2o_req_t *req);

#endif
