/* The step that /introspect and /revoke share: a request whose form has a token, by a client that
 * authenticates. It takes the request, and either yields the token's claims or answers it.
 */
#ifndef AUTH_ENDPOINT_PRESENTED_TOKEN_H
#define AUTH_ENDPOINT_PRESENTED_TOKEN_H

#include <h2o.h>

#include "auth/endpoint/authenticate.h"
#include "auth/token/verification.h"
#include "auth/worker.h"

/* Embedded in the caller's state, which lives as long as the request. Zero it and set
 * `on_token`. */
struct presented_token {
    h2o_req_t *req;
    struct worker *worker;
    struct authentication authentication;
    struct client *client; /* who asks; referenced; NULL: not authenticated */
    struct verification_request verification;

    /* `token` is valid during the call, and NULL unless `state` is ACCESS_TOKEN_VALID. Not called
     * if the request was answered. */
    void (*on_token)(struct presented_token *, enum access_token_state state,
                     struct access_token *token);
};

/* Calls `on_token`, at once or later, or answers the request. */
void presented_token_begin(struct presented_token *presented, h2o_req_t *req);

/* Call when the request is gone. */
void presented_token_stop(struct presented_token *presented);

#endif
