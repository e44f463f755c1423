/* What the files of the client cache share: a look-up, singly (client_cache.c) or in a batch
 * (client_batch.c).
 *
 * A change of all makes every record void: none is served before it has been looked up again. That
 * goes up to 500 to a statement, those first that are asked for. In rounds those follow that nobody
 * has asked for yet, most recently used first, one statement at a time. While there is no end of
 * changes, rounds become rare: what they look up is void again when it comes. So however many
 * changes are told, they cost few rounds, and one row for whoever is asked for.
 */
#ifndef AUTH_CLIENT_CLIENT_LOOKUP_H
#define AUTH_CLIENT_CLIENT_LOOKUP_H

#include "auth/client/client_cache.h"

#define CLIENT_BATCH_MAX        500   /* ids in a statement */
#define CLIENT_ROUND_MAX        10000 /* most recently used records that a round looks at */
#define CLIENT_ROUND_GAP_MS     1000  /* from the end of a round to the next one */
#define CLIENT_ROUND_GAP_MAX_MS 16000 /* it doubles while a round ends with the next one due */

struct client_lookup {
    struct pg_query query;
    struct client_lookup *prev, *next; /* while it is queued, due or sent in a batch */
    struct client_batch *batch;        /* in which it was sent */
    uint64_t event;                    /* the count of events when it was sent */
    struct client_cache *cache;
    uint64_t started_us; /* monotonic */
    struct client_waiter *waiters;
    UT_hash_handle hh; /* by id */
    char id[CLIENT_ID_MAX + 1];
};

/* client_cache.c. One for an id that has none, not sent yet. */
struct client_lookup *client_lookup_make(struct client_cache *cache, struct slice id);

/* Its end, which tells all that wait: the row of CLIENT_COLUMNS_SQL; there is none; the reason. */
void client_lookup_found(struct client_lookup *lookup, const PGresult *rows, int row);
void client_lookup_none(struct client_lookup *lookup);
void client_lookup_failed(struct client_lookup *lookup, const char *reason);

/* client_batch.c */
void client_batch_open(struct client_cache *cache);
void client_batch_close(struct client_cache *cache);

/* It goes with the next statement, and that at the end of the pass at the soonest. */
void client_batch_add(struct client_cache *cache, struct client_lookup *lookup);

/* After a change of all: a round is due. */
void client_batch_plan_round(struct client_cache *cache);

#endif
