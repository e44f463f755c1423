/* What a request for a token says: its form, and who it says it is. */
#ifndef AUTH_ENDPOINT_AUTHENTICATE_H
#define AUTH_ENDPOINT_AUTHENTICATE_H

#include <h2o.h>
#include <stdbool.h>

#include "auth/client/credentials.h"
#include "common/attributes.h"
#include "common/http/form.h"

#define TOKEN_MAX_BODY 16384 /* bytes */

/* Reads both. `form` points into the body and `credentials` at itself or the body. False when that
 * cannot be: then it is answered, and what was sent is wiped. */
MUST_USE bool token_read(h2o_req_t *req, struct form *form, struct credentials *credentials);

/* Wipes body and credentials of a request that is refused unread, whatever its path. */
void token_wipe_unread(h2o_req_t *req);

/* Wipes the secret wherever it stands, once it has been used. The rest of the form stays. */
void token_wipe(h2o_req_t *req, struct form *form, struct credentials *credentials);

#endif
