/* Client authentication, the step that the OAuth endpoints share (RFC 6749 2.3.1). It takes a
 * request, and either yields its client or answers it.
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

/* Embedded in the caller's state, which lives as long as the request. Zero it and set
 * `on_client`. */
struct authentication {
    h2o_req_t *req;
    struct worker *worker;
    uint64_t came_ms;            /* monotonic: when the request arrived */
    struct slice id;             /* as presented; from the request's pool */
    bool is_guess;               /* a try at the secret of an id that may exist */
    bool began_look_up;          /* this request began a look-up rather than joined one */
    struct secret_digest digest; /* of the presented secret */
    struct slice credential;     /* id of the secret, once authenticated; lives with the client */
    struct client_waiter waiter;
    struct timer hold;                 /* delays the answer to a failure */
    struct throttle_refusal throttled; /* wait_ms is not 0: too many failures */
    bool cannot_tell;                  /* PostgreSQL is unavailable */

    /* The client is authenticated. The record is valid during the call, or longer with client_keep.
     * Not called if the request was answered. */
    void (*on_client)(struct authentication *, struct client *client);
};

/* Calls `on_client`, at once or later, or answers the request. On return the secret has been wiped
 * wherever it stood; the rest of `form` stays. A failed authentication takes the same time whether
 * or not the client exists. */
void authenticate_begin(struct authentication *authentication, h2o_req_t *req,
                        const struct form *form);

/* Call when the request is gone. Harmless if nothing was begun. */
void authenticate_stop(struct authentication *authentication);

#endif
