/* Failed authentications, held to a rate: by peer address, so that nobody makes PostgreSQL look up
 * one made-up id after the other; by client id, so that nobody guesses at one from many addresses;
 * and, of ids that do not exist, in the whole process, so that many addresses together do not
 * either.
 *
 * A token bucket each: so many failures at once, then so many a second. Asked only where a look-up
 * would begin or an authentication has failed, so one table under a mutex serves all workers. Who
 * presents the right secret of a cached client never comes here, whoever else guesses at its id;
 * and an id that has authenticated lately has look-ups of its own, whatever others do.
 *
 * Buckets are judged in one order, whether the id is a client's or not, so that a refusal does not
 * tell: the address, then the process, then the id.
 */
#ifndef AUTH_CLIENT_THROTTLE_H
#define AUTH_CLIENT_THROTTLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/lru.h"
#include "common/network.h"

#define THROTTLE_PEER_BURST  500  /* failures of one address at once … */
#define THROTTLE_PEER_MS     100  /* … and milliseconds until it may fail once more */
#define THROTTLE_ID_BURST    100  /* likewise, of one client id */
#define THROTTLE_ID_MS       500  /* a library that tries Basic, then the body, fails twice a try */
#define THROTTLE_ALL_BURST   1000 /* look-ups of the process that find nobody, at once … */
#define THROTTLE_ALL_MS      2    /* … and until one more may be made */
#define THROTTLE_KNOWN_BURST 16   /* look-ups of an id that has authenticated lately, … */
#define THROTTLE_KNOWN_MS    250  /* … which each worker may need for itself */
/* Look-ups that were under way before the first of them had failed count beyond the burst, so that
 * however many begin at once, they come to no more in the end: up to so long a time ahead. */
#define THROTTLE_DEBT_MS 50000
/* Addresses, and client ids; past it the oldest is forgotten. */
#define THROTTLE_MAX_ENTRIES 10000
#define THROTTLE_MAX_KNOWN   50000 /* ids that have authenticated lately, some 200 bytes each */

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
    uint64_t all_full_at_ms; /* the one bucket of THROTTLE_ALL */
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

/* The client has authenticated. Once for each record is enough. */
void throttle_know(struct throttle *throttle, struct slice id);

/* An authentication that has failed. */
struct throttle_failure {
    struct network_address peer;
    /* Empty, for one that cannot exist or for a malformed secret, which is no guess: it counts only
     * against the address. */
    struct slice id;
    bool exists;    /* there is such a client */
    bool looked_up; /* it has cost a look-up */
};

/* Counts it, unless it is one too many: a refused attempt leaves nothing in the tables. A look-up
 * counts in any case. */
MUST_USE struct throttle_refusal
throttle_fail(struct throttle *throttle, const struct throttle_failure *failure, uint64_t now_ms);

/* The client has been made or changed (`*`: all): what failed before says nothing any more. */
void throttle_forget(struct throttle *throttle, struct slice id);

#endif
