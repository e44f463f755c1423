/* POST /token: client credentials to an access token (RFC 6749 4.4, RFC 8707, RFC 9068). */
#ifndef AUTH_ENDPOINT_TOKEN_H
#define AUTH_ENDPOINT_TOKEN_H

#include <h2o.h>
#include <stdbool.h>

struct worker;

void token_handle(h2o_req_t *req);

/* Signs for requests that were granted a token, in this pass or before; true when some are left for
 * the next, which then must not wait. */
bool token_issue(struct worker *worker);

/* Refuses them: there is no time left. */
void token_refuse_granted(struct worker *worker);

/* Before the answers of the pass leave: its tokens are recorded, or could not be, and then they are
 * refused after all (or not, where records may be dropped). Counts those that are issued. */
void token_end_pass(struct worker *worker, bool recorded);

#endif
