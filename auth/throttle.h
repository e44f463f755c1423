/* Failed authentications, held to a rate: by peer address, so that nobody makes PostgreSQL look up
 * one made-up id after the other, and by client id, so that nobody guesses at one from many
 * addresses.
 *
 * A token bucket each: so many failures at once, then so many a second. Asked only where a look-up
 * would begin or an authentication has failed, so one table under a mutex serves all workers. Who
 * presents the right secret of a cached client never comes here, whoever else guesses at its id.
 */
#ifndef AUTH_THROTTLE_H
#define AUTH_THROTTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/lru.h"
#include "common/network.h"

#define THROTTLE_PEER_BURST 500 /* failures of one address at once … */
#define THROTTLE_PEER_MS    100 /* … and milliseconds until it may fail once more */
#define THROTTLE_ID_BURST   100 /* likewise, of one client id */
#define THROTTLE_ID_MS      500 /* a library that tries Basic, then the body, fails twice a try */
/* Addresses, and client ids; past it the oldest is forgotten. */
#define THROTTLE_MAX_ENTRIES 10000

enum throttle_by {
    THROTTLE_PEER,
    THROTTLE_ID,
    THROTTLE_BY_COUNT,
};

struct throttle {
    pthread_mutex_t mutex;
    struct lru tables[THROTTLE_BY_COUNT];
};

/* Why an attempt is refused, and for how long. */
struct throttle_refusal {
    uint64_t wait_ms; /* 0: it is not refused */
    enum throttle_by by;
};

void throttle_open(struct throttle *throttle);
void throttle_close(struct throttle *throttle);

/* Whether an attempt may cost a look-up. `id` may be any bytes. `now_ms` is monotonic. Of a client
 * that is known to exist, the guesses at its id stand in nobody's way: its look-ups are few. */
MUST_USE struct throttle_refusal throttle_check(struct throttle *throttle,
                                                const struct network_address *peer, struct slice id,
                                                uint64_t now_ms);

/* An authentication has failed; `exists`: there is such a client. Counts it, unless it is one too
 * many. An empty id counts for the address only: of a secret that is none, which is no guess. */
MUST_USE struct throttle_refusal throttle_fail(struct throttle *throttle,
                                               const struct network_address *peer, struct slice id,
                                               bool exists, uint64_t now_ms);

/* The client has been made or changed (`*`: all): what failed before says nothing any more. */
void throttle_forget(struct throttle *throttle, struct slice id);

#endif
