/* Who sends a request: the step that the endpoints of OAuth share (RFC 6749 2.3.1). A request goes
 * in; a client comes out, or it is already answered.
 */
#ifndef AUTH_ENDPOINT_AUTHENTICATE_H
#define AUTH_ENDPOINT_AUTHENTICATE_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/client_cache.h"
#include "auth/client/secret.h"
#include "auth/client/throttle.h"
#include "auth/worker.h"
#include "common/http/form.h"
#include "common/timer.h"

/* Embedded in what asks, which lives as long as the request. Zero it and set `on_client`. */
struct authentication {
    h2o_req_t *req;
    struct worker *worker;
    uint64_t came_ms;            /* monotonic */
    struct slice id;             /* as presented; from the pool */
    bool is_guess;               /* at the secret of an id that may exist */
    bool is_looked_up;           /* and nobody else's look-up was joined */
    struct secret_digest digest; /* of the secret that was presented */
    struct client_waiter waiter;
    struct timer hold;                 /* of the answer to one that failed: */
    struct throttle_refusal throttled; /* it failed too often, … */
    bool cannot_tell;                  /* … PostgreSQL cannot be asked, or neither: 401 */

    /* The client is who it says; the record is valid during the call, for longer with client_keep.
     * Not called when the request was answered. */
    void (*on_client)(struct authentication *, struct client *client);
};

/* Calls `on_client`, at once or later, or answers. The secret is wiped wherever it stood when this
 * returns; the rest of `form` stays. Answers that tell that a client was not authenticated take the
 * same time whether it exists or not. */
void authenticate_begin(struct authentication *authentication, h2o_req_t *req,
                        const struct form *form);

/* The request is gone. Harmless where nothing was begun. */
void authenticate_stop(struct authentication *authentication);

#endif
