/* How a client record is found: cache -> one look-up in flight -> PostgreSQL.
 *
 * Each worker has a cache of its own, so that a hit takes no lock. All that ask for a client which
 * is not cached wait for the same look-up. A change in the database arrives as a notification on
 * the connection that looks up, and drops the record. While that connection is lost, changes go
 * unheard, so everything cached counts as expired until it is looked up again; as long as
 * PostgreSQL cannot be asked, an expired record may serve for a while (stale).
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

#define CLIENT_MAX_LOOKUPS 64    /* sent and not answered, in each worker */
#define CLIENT_ROUND_MAX   10000 /* most recently used records that a round looks at */
#define CLIENT_MAX_QUEUED  10000 /* that wait to be sent; past it the answer is "unavailable" */
#define CLIENT_SWEEP_MS    300000

enum client_status {
    CLIENT_FOUND,
    CLIENT_UNKNOWN,
    CLIENT_UNAVAILABLE, /* not cached, and PostgreSQL cannot be asked */
};

/* Where a record came from. */
enum client_source {
    CLIENT_HIT,
    CLIENT_MISS,
    CLIENT_STALE,
};

/* Embedded in what waits. */
struct client_waiter {
    struct client_waiter *prev, *next;
    struct client_lookup *lookup; /* NULL: not waiting */
    /* `client` is NULL unless found, and valid during the call, which must not find another one;
     * for longer, with client_keep. */
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
    struct counter added; /* less `removed`: the entries now */
    struct counter removed;
    struct counter rechecks; /* statements after a change of all */
    struct counter lookups[LOOKUP_RESULT_COUNT];
    struct histogram lookup_durations;
};

struct client_cache {
    struct lru records;
    struct lru unknown; /* of its own, so that made-up ids push no real client out; as large */
    uint64_t fresh_ms;  /* how long a record is fresh, and an unknown id is known to be one */
    uint64_t stale_ms;  /* how long an expired one may serve while PostgreSQL is away */
    struct pg *pg;
    struct timers *timers;
    struct timer sweep;
    struct client_lookup *queued; /* those that are not sent yet, in order */
    size_t queued_count, sent_count;
    struct client_batches batches; /* and all look-ups that are under way */
    /* What happened, counted: a loss of the connection, a change of everything. Records of before
     * are expired, or void. */
    uint64_t event;
    uint64_t lost_event;
    uint64_t changed_event;
    bool serving_stale;       /* since the last loss */
    uint64_t error_logged_ms; /* monotonic: a failed look-up was */
    struct client_cache_counters *counters;
};

/* What a connection for look-ups must have done, in this order: whoever looked up before listening
 * could keep a record over its invalidation. */
#define CLIENT_LISTEN_SQL "LISTEN jotd_client"

#define CLIENT_PREPARE_SQL                                                                         \
    "PREPARE client AS SELECT " CLIENT_COLUMNS_SQL                                                 \
    " FROM clients c JOIN tiers t ON t.name = c.tier WHERE c.client_id = $1"

/* For client_cache_warm; has one %zu, how many at most. */
#define CLIENT_WARM_SQL                                                                            \
    "SELECT " CLIENT_COLUMNS_SQL " FROM active_clients(%zu) a JOIN clients c USING (client_id)"    \
    " JOIN tiers t ON t.name = c.tier ORDER BY a.issued_at"

void client_cache_open(struct client_cache *cache, size_t cache_size, uint64_t fresh_ms,
                       uint64_t stale_ms, struct pg *pg, struct timers *timers,
                       struct client_cache_counters *counters);

/* No look-up may be in flight: close its connection first. */
void client_cache_close(struct client_cache *cache);

/* Fills the cache from the result of CLIENT_WARM_SQL, before the first look-up. */
void client_cache_warm(struct client_cache *cache, const PGresult *rows);

/* The connection is lost, or is back. */
void client_cache_on_connection(struct client_cache *cache, bool ready);

/* The payload of a notification: a client id, or * for all. */
void client_cache_on_change(struct client_cache *cache, const char *payload);

/* Finds the client where that needs no look-up: it is cached, or it cannot exist. Then calls
 * `on_client` at once and returns true. `id` may be any bytes. */
MUST_USE bool client_cache_find(struct client_cache *cache, struct slice id,
                                struct client_waiter *waiter);

/* After client_cache_find did not: calls `on_client` when the look-up is through, or at once when
 * there can be none. Returns whether it began one, rather than join the one that is under way. */
bool client_cache_look_up(struct client_cache *cache, struct slice id,
                          struct client_waiter *waiter);

/* Sends what has become due in this turn of the loop. */
void client_cache_end_pass(struct client_cache *cache);

/* The waiter is not called any more; harmless when it was. */
void client_cache_stop_waiting(struct client_waiter *waiter);

#endif
