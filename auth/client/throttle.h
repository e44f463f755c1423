/* Rate limits for failed authentications: per peer address, so that no peer makes PostgreSQL look
 * up endless made-up ids; per client id, so that nobody guesses its secret from many addresses; and
 * for the whole process on ids that do not exist, so that many addresses together cannot cause
 * endless look-ups either.
 *
 * Each limit is a token bucket: a burst of failures, then a steady rate. They are consulted only
 * before a look-up or after a failed authentication, so one table under a mutex serves all workers.
 * The right secret of a cached client is never throttled, no matter how many guesses others make at
 * its id. An id that has authenticated lately has its own budget of look-ups, whatever others do.
 *
 * Buckets are checked in the same order whether or not the id exists, so that a refusal does not
 * reveal it: address, process, id.
 */
#ifndef AUTH_CLIENT_THROTTLE_H
#define AUTH_CLIENT_THROTTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/lru.h"
#include "common/network.h"

#define THROTTLE_PEER_BURST  500  /* failures per address at once … */
#define THROTTLE_PEER_MS     100  /* … and milliseconds per further one */
#define THROTTLE_ID_BURST    100  /* the same per client id */
#define THROTTLE_ID_MS       500  /* libraries that try Basic, then the body, fail twice */
#define THROTTLE_ALL_BURST   1000 /* look-ups per process that find no client, at once … */
#define THROTTLE_ALL_MS      2    /* … and milliseconds per further one */
#define THROTTLE_KNOWN_BURST 16   /* look-ups of a known id at once, as each worker needs one … */
#define THROTTLE_KNOWN_MS    250  /* … and milliseconds per further one */
/* Look-ups already in flight when the first one fails count beyond the burst, so that starting many
 * at once gains nothing in the end. The bucket goes at most this far into debt. */
#define THROTTLE_DEBT_MS 50000
/* Addresses, and client ids; beyond it the least recently used is evicted. */
#define THROTTLE_MAX_ENTRIES 10000
#define THROTTLE_MAX_KNOWN   50000 /* known ids (recently authenticated), about 200 bytes each */

enum throttle_by {
    THROTTLE_PEER,
    THROTTLE_ID,
    THROTTLE_ALL,
    THROTTLE_BY_COUNT,
};

#define THROTTLE_TABLE_COUNT THROTTLE_ALL /* by peer and by id */

struct throttle {
    pthread_mutex_t mutex;
    struct lru tables[THROTTLE_TABLE_COUNT];
    struct lru known;
    uint64_t all_full_at_ms; /* monotonic; the only bucket of THROTTLE_ALL */
};

/* Which limit refuses an attempt, and for how long. */
struct throttle_refusal {
    uint64_t wait_ms; /* 0: not refused */
    enum throttle_by by;
};

void throttle_open(struct throttle *throttle);
void throttle_close(struct throttle *throttle);

/* Whether an attempt may cost a look-up. `id` may be any bytes. `now_ms` is monotonic. Failed
 * guesses at an id known to exist do not block its look-ups, which are few. */
MUST_USE struct throttle_refusal throttle_check(struct throttle *throttle,
                                                const struct network_address *peer, struct slice id,
                                                uint64_t now_ms);

/* Records that the client has authenticated. Once per cached record is enough. */
void throttle_know(struct throttle *throttle, struct slice id);

/* A failed authentication. */
struct throttle_failure {
    struct network_address peer;
    /* Empty for an invalid id or a malformed secret: that is no guess and counts only against the
     * address. */
    struct slice id;
    bool exists;    /* the client exists */
    bool looked_up; /* it cost a look-up */
};

/* Counts the failure unless a limit refuses it: a refused attempt adds nothing to the tables. A
 * look-up always counts. */
MUST_USE struct throttle_refusal
throttle_fail(struct throttle *throttle, const struct throttle_failure *failure, uint64_t now_ms);

/* Forgets the failures of a client that was created or changed (`*`: of all). */
void throttle_forget(struct throttle *throttle, struct slice id);

#endif
