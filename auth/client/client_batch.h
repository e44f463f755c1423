/* Client look-ups, and how they are batched after a change to all clients.
 *
 * A change to all clients voids every record: none is served until it has been looked up again, up
 * to 500 in one statement. Clients with waiting requests go first. Rounds then look up the most
 * recently used of the rest, one statement at a time. Under a stream of changes the rounds back
 * off, since their results would be void on arrival. So any number of changes costs only a few
 * rounds, plus one row per client in demand.
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

#define CLIENT_LOOKUP_MS        5000  /* a look-up not sent within this time fails */
#define CLIENT_BATCHES          2     /* in flight at once */
#define CLIENT_BATCH_MAX        500   /* ids per statement */
#define CLIENT_ROUND_GAP_MS     1000  /* from the end of a round to the next */
#define CLIENT_ROUND_GAP_MAX_MS 16000 /* it doubles whenever the next round is already due */

/* unnest, because with = ANY ($1) a generic plan compares every row of a small table with every
 * id. */
#define CLIENT_BATCH_PREPARE_SQL                                                                   \
    "PREPARE clients AS SELECT " CLIENT_COLUMNS_SQL " FROM unnest($1::text[]) AS asked (id)"       \
    " JOIN clients c ON c.client_id = asked.id" CLIENT_JOINS_SQL

/* A look-up, from request to result. */
struct client_lookup {
    struct pg_query query;
    struct client_lookup *prev, *next; /* in the queue, the due list or a batch */
    struct client_batch *batch;        /* that it was sent in */
    uint64_t event;                    /* the cache's event count when sent (client_cache.h) */
    struct client_cache *cache;
    uint64_t started_us; /* monotonic */
    struct client_waiter *waiters;
    UT_hash_handle hh; /* by id */
    char id[CLIENT_ID_MAX + 1];
};

/* One statement that looks up many clients. */
struct client_batch {
    struct pg_query query;
    struct client_batches *owner;
    struct client_lookup *sent; /* NULL: not in flight */
};

struct client_batches {
    struct pg *pg;
    struct timers *timers;
    struct counter *statements;    /* sent */
    struct client_lookup *lookups; /* all, hashed by id */
    struct client_lookup *due;     /* to go with the next statement */
    struct client_batch batches[CLIENT_BATCHES];
    uint64_t changed_event; /* of the last change to all clients */
    bool in_round;
    bool all_sent;                    /* of the current round */
    struct client_batch *round_batch; /* carries part of the round; the next part waits for it */
    uint64_t round_event;             /* the round covers records older than this */
    uint64_t round_after_ms;          /* monotonic; earliest start of the next round */
    uint64_t round_gap_ms;
    struct timer round_timer; /* starts the next round */

    /* Set by the cache. Adds up to `room` look-ups of records older than `round_event` with
     * client_batch_take; returns how many. */
    size_t (*fill)(struct client_batches *, struct client_batch *batch, size_t room);
    /* Each look-up ends with one of these: a row of CLIENT_COLUMNS_SQL, no row, or an error. */
    void (*on_row)(struct client_lookup *, const PGresult *rows, int row);
    void (*on_none)(struct client_lookup *);
    void (*on_failed)(struct client_lookup *, const char *reason);
};

/* Set the callbacks and the first three pointers before. */
void client_batch_open(struct client_batches *batches);
void client_batch_close(struct client_batches *batches);

/* Queues a look-up for the next statement, sent at the end of this pass at the earliest. */
void client_batch_add(struct client_batches *batches, struct client_lookup *lookup);

/* Adds a look-up to the batch; called by `fill`. */
void client_batch_take(struct client_batch *batch, struct client_lookup *lookup);

/* Schedules a round after a change to all clients. `event` is the cache's event count. */
void client_batch_plan_round(struct client_batches *batches, uint64_t event);

/* Sends the look-ups that became due in this pass. `event` is the cache's event count. */
void client_batch_end_pass(struct client_batches *batches, uint64_t event);

#endif
