/* Verifies access tokens on the loop: remembers those whose signature was right, and lets the
 * others wait in a line, since a signature takes long to verify and each turn has time for a few.
 */
#ifndef AUTH_TOKEN_VERIFICATION_H
#define AUTH_TOKEN_VERIFICATION_H

#include <stdbool.h>

#include "auth/client/secret.h"
#include "auth/token/access_token_verify.h"
#include "auth/token/keyring.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/counter.h"
#include "common/lru.h"
#include "common/slice.h"

#define VERIFICATION_REMEMBERED 10000 /* tokens per worker, about 1 KiB each */

struct verification_counters {
    struct counter remembered; /* tokens whose signature need not be verified again */
    struct counter verified;   /* signatures verified, right or wrong */
};

/* Embedded in the requesting object. The caller owns `text` and the callback, and keeps the text
 * alive until the callback or verification_leave. */
struct verification_request {
    struct verification_request *prev, *next; /* private, as what follows until `text` */
    struct verification *line;                /* that it waits in, or NULL */
    struct access_token *token;               /* unverified */
    struct secret_digest digest;              /* SHA-256 of the whole token */
    struct slice text;
    /* `token` is NULL unless ACCESS_TOKEN_VALID, and valid only during the call;
     * access_token_verify_keep extends that. */
    void (*on_verified)(struct verification_request *, enum access_token_state state,
                        struct access_token *token);
};

/* Used by one thread. */
struct verification {
    const char *issuer;
    struct keyring_view *keys;
    struct verification_counters *counters;
    struct lru remembered; /* by digest, until they expire */
    struct verification_request *line;
    struct buffer scratch;
};

void verification_open(struct verification *verification, const char *issuer,
                       struct keyring_view *keys, struct verification_counters *counters);
void verification_close(struct verification *verification);

/* Calls `on_verified` once: at once when no signature has to be verified. */
void verification_begin(struct verification *verification, struct verification_request *request);

/* Takes a request out of the line: no callback follows. Harmless when it is in none. */
void verification_leave(struct verification_request *request);

/* Verifies for its share of the turn (lag.h). True when requests are left for the next turn, which
 * then must not wait for events. */
bool verification_run(struct verification *verification);

/* Calls everybody in the line with ACCESS_TOKEN_UNDECIDED, because the server is stopping. */
void verification_refuse_all(struct verification *verification);

#endif
