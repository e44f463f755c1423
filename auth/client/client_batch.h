/* Look-ups of clients, and how many of them go in one statement after a change of all.
 *
 * A change of all makes every record void: none is served before it has been looked up again. That
 * goes up to 500 to a statement, those first that are asked for. In rounds those follow that nobody
 * has asked for yet, most recently used first, one statement at a time. While there is no end of
 * changes, rounds become rare: what they look up is void again when it comes. So however many
 * changes are told, they cost few rounds, and one row for each client that is asked for.
 */
#ifndef AUTH_CLIENT_CLIENT_BATCH_H
#define AUTH_CLIENT_CLIENT_BATCH_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/client.h"
#include "common/counter.h"
#include "common/map.h"
#include "common/pg/pg.h"
#include "common/timer.h"

#define CLIENT_LOOKUP_MS        5000  /* a look-up that could not be sent within is given up */
#define CLIENT_BATCHES          2     /* on their way at once */
#define CLIENT_BATCH_MAX        500   /* ids in a statement */
#define CLIENT_ROUND_GAP_MS     1000  /* from the end of a round to the next one */
#define CLIENT_ROUND_GAP_MAX_MS 16000 /* it doubles while a round ends with the next one due */

/* By unnest: for = ANY ($1) a generic plan compares every client of a small table with every id. */
#define CLIENT_BATCH_PREPARE_SQL                                                                   \
    "PREPARE clients AS SELECT " CLIENT_COLUMNS_SQL " FROM unnest($1::text[]) AS asked (id)"       \
    " JOIN clients c ON c.client_id = asked.id JOIN tiers t ON t.name = c.tier"

/* One in flight. */
struct client_lookup {
    struct pg_query query;
    struct client_lookup *prev, *next; /* while it is queued, due or sent in a batch */
    struct client_batch *batch;        /* in which it was sent */
    uint64_t event;                    /* the count of events when it was sent (client_cache.h) */
    struct client_cache *cache;
    uint64_t started_us; /* monotonic */
    struct client_waiter *waiters;
    UT_hash_handle hh; /* by id */
    char id[CLIENT_ID_MAX + 1];
};

/* A statement that looks many clients up. */
struct client_batch {
    struct pg_query query;
    struct client_batches *owner;
    struct client_lookup *sent; /* by it; NULL: it is not out */
};

struct client_batches {
    struct pg *pg;
    struct timers *timers;
    struct counter *statements;    /* that were sent */
    struct client_lookup *lookups; /* all that are under way, hashed by id */
    struct client_lookup *due;     /* they go with the next statement */
    struct client_batch batches[CLIENT_BATCHES];
    uint64_t changed_event; /* of the last change of all */
    bool in_round;
    bool all_sent;                    /* of the round */
    struct client_batch *round_batch; /* with a part of it; the next part goes when that is back */
    uint64_t round_event;             /* the round looks at records of before */
    uint64_t round_after_ms;          /* monotonic: the next one begins then at the soonest */
    uint64_t round_gap_ms;
    struct timer round_timer; /* the next one is due */

    /* The cache's part. Adds look-ups of records from before `round_event` by client_batch_take,
     * up to `room` of them; returns how many. */
    size_t (*fill)(struct client_batches *, struct client_batch *batch, size_t room);
    /* The end of a look-up: the row of CLIENT_COLUMNS_SQL; there is none; the reason. */
    void (*on_row)(struct client_lookup *, const PGresult *rows, int row);
    void (*on_none)(struct client_lookup *);
    void (*on_failed)(struct client_lookup *, const char *reason);
};

/* Set the cache's part before, and the three pointers at the top. */
void client_batch_open(struct client_batches *batches);
void client_batch_close(struct client_batches *batches);

/* The look-up goes with the next statement, and that at the end of the pass at the soonest. */
void client_batch_add(struct client_batches *batches, struct client_lookup *lookup);

/* For `fill`. */
void client_batch_take(struct client_batch *batch, struct client_lookup *lookup);

/* After a change of all, with the count of events: a round is due. */
void client_batch_plan_round(struct client_batches *batches, uint64_t event);

/* Sends what has become due in this turn of the loop. `event` is the count of events now. */
void client_batch_end_pass(struct client_batches *batches, uint64_t event);

#endif
