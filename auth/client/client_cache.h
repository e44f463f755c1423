/* The client cache: cache -> one look-up in flight -> PostgreSQL.
 *
 * Each worker has its own cache, so a hit takes no lock. Concurrent misses for one client share one
 * look-up. A change in the database arrives as a notification on the look-up connection and drops
 * the record. Losing that connection may lose notifications, so it expires everything cached; until
 * PostgreSQL is back, expired records may be served for a while (stale).
 */
#ifndef AUTH_CLIENT_CLIENT_CACHE_H
#define AUTH_CLIENT_CLIENT_CACHE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/client.h"
#include "auth/client/client_batch.h"
#include "common/attributes.h"
#include "common/counter.h"
#include "common/histogram.h"
#include "common/lru.h"
#include "common/pg/pg.h"
#include "common/slice.h"

#define CLIENT_MAX_LOOKUPS 64    /* in flight, per worker */
#define CLIENT_ROUND_MAX   10000 /* most recently used records that a round covers */
#define CLIENT_MAX_QUEUED  10000 /* waiting to be sent; beyond it CLIENT_UNAVAILABLE */
#define CLIENT_SWEEP_MS    300000

enum client_status {
    CLIENT_FOUND,
    CLIENT_UNKNOWN,
    CLIENT_UNAVAILABLE, /* not cached, and the look-up failed or could not start */
};

/* Where a record came from. */
enum client_source {
    CLIENT_HIT,
    CLIENT_MISS,
    CLIENT_STALE,
};

/* Embedded in the waiting object. */
struct client_waiter {
    struct client_waiter *prev, *next;
    struct client_lookup *lookup; /* NULL: not waiting */
    /* `client` is NULL unless found, and valid only during the call; client_keep extends that. The
     * callback may look for another client, with another waiter. */
    void (*on_client)(struct client_waiter *, enum client_status status, struct client *client,
                      enum client_source source);
};

enum lookup_result {
    LOOKUP_FOUND,
    LOOKUP_UNKNOWN,
    LOOKUP_ERROR,
    LOOKUP_RESULT_COUNT,
};

struct client_cache_counters {
    struct counter hits;
    struct counter misses;
    struct counter stale;
    struct counter invalidations;
    struct counter evictions;
    struct counter expirations;
    struct counter warmed;
    struct counter added; /* minus `removed`: entries in the cache */
    struct counter removed;
    struct counter rechecks; /* statements after a change to all clients */
    struct counter lookups[LOOKUP_RESULT_COUNT];
    struct histogram lookup_durations;
};

struct client_cache {
    struct lru records;
    struct lru unknown; /* separate, so that made-up ids evict no client; same capacity */
    uint64_t fresh_ms;  /* longest time that a record or unknown id is fresh */
    uint64_t stale_ms;  /* how long an expired one may be served while PostgreSQL is down */
    struct pg *pg;
    struct timers *timers;
    struct timer sweep;
    struct client_lookup *queued; /* not sent yet, oldest first */
    size_t queued_count, sent_count;
    struct client_batches batches; /* also holds the table of all look-ups */
    /* Counts connection losses and changes to all clients. Records older than `lost_event` are
     * expired; those older than `changed_event` are void. */
    uint64_t event;
    uint64_t lost_event;
    uint64_t changed_event;
    bool serving_stale;       /* since the last connection loss */
    uint64_t error_logged_ms; /* monotonic; last failed look-up logged */
    struct client_cache_counters *counters;
};

/* Setup of the look-up connection, in this order: a look-up before LISTEN could miss an
 * invalidation. */
#define CLIENT_LISTEN_SQL              "LISTEN jotd_client"
#define CLIENT_LISTEN_ORGANIZATION_SQL "LISTEN jotd_organization"

#define CLIENT_PREPARE_SQL                                                                         \
    "PREPARE client AS SELECT " CLIENT_COLUMNS_SQL " FROM clients c" CLIENT_JOINS_SQL              \
    " WHERE c.client_id = $1"

/* For client_cache_warm; %zu is the maximum number of rows. */
#define CLIENT_WARM_SQL                                                                            \
    "SELECT " CLIENT_COLUMNS_SQL                                                                   \
    " FROM active_clients(%zu) a JOIN clients c USING (client_id)" CLIENT_JOINS_SQL                \
    " ORDER BY a.issued_at"

void client_cache_open(struct client_cache *cache, size_t cache_size, uint64_t fresh_ms,
                       uint64_t stale_ms, struct pg *pg, struct timers *timers,
                       struct client_cache_counters *counters);

/* Close the look-up connection first: no look-up may be in flight. */
void client_cache_close(struct client_cache *cache);

/* Fills the cache from the result of CLIENT_WARM_SQL. Call it before the first look-up. */
void client_cache_warm(struct client_cache *cache, const PGresult *rows);

/* Call when the connection is lost or back. */
void client_cache_on_connection(struct client_cache *cache, bool ready);

/* Handles a notification: `payload` is a client id, or * for all. */
void client_cache_on_change(struct client_cache *cache, const char *payload);

/* The same for an organization: drops its clients. Past this many records, all are looked up again
 * instead, since that takes no long turn. */
#define CLIENT_ORGANIZATION_MAX 20000
void client_cache_on_organization(struct client_cache *cache, const char *payload);

/* If no look-up is needed (cached, known not to exist, or an invalid id), calls `on_client` at once
 * and returns true. `id` may be any bytes. */
MUST_USE bool client_cache_find(struct client_cache *cache, struct slice id,
                                struct client_waiter *waiter);

/* After client_cache_find returned false: calls `on_client` when the look-up ends, or at once when
 * none can start. Returns true if it started a look-up, false if it joined one or could not. */
bool client_cache_look_up(struct client_cache *cache, struct slice id,
                          struct client_waiter *waiter);

/* Sends the look-ups that became due in this pass. */
void client_cache_end_pass(struct client_cache *cache);

/* Cancels the wait; a no-op once the waiter has been called. */
void client_cache_stop_waiting(struct client_waiter *waiter);

#endif
