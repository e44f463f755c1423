/* POST /token: client credentials to an access token (RFC 6749 4.4, RFC 8707, RFC 9068). */
#ifndef AUTH_TOKEN_H
#define AUTH_TOKEN_H

#include <h2o.h>

struct worker;

#define TOKEN_MAX_BODY 16384 /* bytes */

void token_handle(h2o_req_t *req);

/* The tokens of this pass could not be recorded: their answers become refusals, or leave all the
 * same where records may be dropped. */
void token_revoke_answers(struct worker *worker);

#endif
