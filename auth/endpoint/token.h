/* POST /token: exchanges client credentials for an access token (RFC 6749 4.4, RFC 8707, RFC
 * 9068). */
#ifndef AUTH_ENDPOINT_TOKEN_H
#define AUTH_ENDPOINT_TOKEN_H

#include <h2o.h>

void token_handle(h2o_req_t *req);

#endif
