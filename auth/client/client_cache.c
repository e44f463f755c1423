/* A look-up leaves the look-up table before its waiters are called: nobody joins a finished one. */
#include "auth/client/client_cache.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/failure.h"
#include "common/log.h"

/* An id that PostgreSQL does not know. It is cached exactly like a record: otherwise response times
 * would reveal which ids exist. */
struct unknown {
    struct lru_entry entry;
    uint64_t event; /* these three as in struct client */
    uint64_t refresh_after_ms;
    uint64_t fresh_until_ms;
    char id[CLIENT_ID_MAX];
};

static void on_sweep(struct timer *timer);
static size_t fill_batch(struct client_batches *batches, struct client_batch *batch, size_t room);
static void on_row(struct client_lookup *lookup, const PGresult *rows, int row);
static void on_none(struct client_lookup *lookup);
static void on_failed(struct client_lookup *lookup, const char *reason);

void client_cache_open(struct client_cache *cache, size_t cache_size, uint64_t fresh_ms,
                       uint64_t stale_ms, struct pg *pg, struct timers *timers,
                       struct client_cache_counters *counters)
{
    *cache = (struct client_cache){.records.capacity = cache_size,
                                   .unknown.capacity = cache_size,
                                   .fresh_ms = fresh_ms,
                                   .stale_ms = stale_ms,
                                   .pg = pg,
                                   .timers = timers,
                                   .sweep.on_time = on_sweep,
                                   .batches = {.pg = pg,
                                               .timers = timers,
                                               .statements = &counters->rechecks,
                                               .fill = fill_batch,
                                               .on_row = on_row,
                                               .on_none = on_none,
                                               .on_failed = on_failed},
                                   .counters = counters};
    timer_start(timers, &cache->sweep, CLIENT_SWEEP_MS);
    client_batch_open(&cache->batches);
}

/* Drops the cache's reference to a removed entry. */
static void release_entry(struct client_cache *cache, struct lru_entry *entry)
{
    client_release(H2O_STRUCT_FROM_MEMBER(struct client, entry, entry));
    counter_add(&cache->counters->removed, 1);
}

static void drop(struct client_cache *cache, struct lru_entry *entry)
{
    lru_remove(&cache->records, entry);
    release_entry(cache, entry);
}

static void forget_unknown(struct client_cache *cache, struct lru_entry *entry)
{
    lru_remove(&cache->unknown, entry);
    free(H2O_STRUCT_FROM_MEMBER(struct unknown, entry, entry));
}

void client_cache_close(struct client_cache *cache)
{
    timer_stop(cache->timers, &cache->sweep);
    client_batch_close(&cache->batches);
    while (lru_oldest(&cache->records) != NULL)
        drop(cache, lru_oldest(&cache->records));
    while (lru_oldest(&cache->unknown) != NULL)
        forget_unknown(cache, lru_oldest(&cache->unknown));
}

/* For a record or an unknown id. */
static bool is_fresh(const struct client_cache *cache, uint64_t event, uint64_t fresh_until_ms,
                     uint64_t now_ms)
{
    return pg_is_ready(cache->pg) && event >= cache->lost_event && now_ms < fresh_until_ms;
}

static bool may_serve_stale(const struct client_cache *cache, uint64_t fresh_until_ms,
                            uint64_t now_ms)
{
    return !pg_is_ready(cache->pg) && now_ms < fresh_until_ms + cache->stale_ms;
}

/* Whether all clients changed after it was looked up. */
static bool is_void(const struct client_cache *cache, const struct client *client)
{
    return client->event < cache->changed_event;
}

/* Frees records that are void, or expired and too old to serve stale. */
static void on_sweep(struct timer *timer)
{
    struct client_cache *cache = H2O_STRUCT_FROM_MEMBER(struct client_cache, sweep, timer);
    uint64_t now_ms = clock_monotonic_ms();
    struct lru_entry *entry, *next;

    timer_start(cache->timers, &cache->sweep, CLIENT_SWEEP_MS);
    HASH_ITER (hh, cache->records.entries, entry, next) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);

        if (is_void(cache, client) ||
            (!is_fresh(cache, client->event, client->fresh_until_ms, now_ms) &&
             !may_serve_stale(cache, client->fresh_until_ms, now_ms))) {
            drop(cache, entry);
            counter_add(&cache->counters->expirations, 1);
        }
    }
}

/* Expires the whole cache now. Entries that expired earlier keep their time, so that a second
 * connection loss does not extend their stale period. */
static void expire_all(struct client_cache *cache)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct lru_entry *entry, *next;

    HASH_ITER (hh, cache->records.entries, entry, next) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);

        if (client->fresh_until_ms > now_ms)
            client->fresh_until_ms = now_ms;
    }
    HASH_ITER (hh, cache->unknown.entries, entry, next) {
        struct unknown *unknown = H2O_STRUCT_FROM_MEMBER(struct unknown, entry, entry);

        if (unknown->fresh_until_ms > now_ms)
            unknown->fresh_until_ms = now_ms;
    }
}

void client_cache_on_connection(struct client_cache *cache, bool ready)
{
    if (!ready) {
        cache->lost_event = ++cache->event;
        expire_all(cache);
    } else if (cache->serving_stale) {
        cache->serving_stale = false;
        log_info("client.stale_ended", log_str("reason", "PostgreSQL can be asked again"));
    }
}

void client_cache_on_change(struct client_cache *cache, const char *payload)
{
    struct lru_entry *entry;

    if (strcmp(payload, "*") == 0) {
        cache->changed_event = ++cache->event;
        counter_add(&cache->counters->invalidations, lru_count(&cache->records));
        client_batch_plan_round(&cache->batches, cache->event);
        return;
    }
    if ((entry = lru_find(&cache->records, slice_of(payload))) != NULL) {
        drop(cache, entry);
        counter_add(&cache->counters->invalidations, 1);
    }
    if ((entry = lru_find(&cache->unknown, slice_of(payload))) != NULL)
        forget_unknown(cache, entry);
}

void client_cache_on_organization(struct client_cache *cache, const char *payload)
{
    struct lru_entry *entry, *next;

    if (strcmp(payload, "*") == 0 || lru_count(&cache->records) > CLIENT_ORGANIZATION_MAX) {
        client_cache_on_change(cache, "*");
        return;
    }
    HASH_ITER (hh, cache->records.entries, entry, next) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);

        if (slice_equal(client->organization, slice_of(payload))) {
            drop(cache, entry);
            counter_add(&cache->counters->invalidations, 1);
        }
    }
}

/* The cached record, fresh or not; NULL when there is none or it is void. */
static struct client *cached(struct client_cache *cache, struct slice id)
{
    struct lru_entry *entry = lru_find(&cache->records, id);
    struct client *client;

    if (entry == NULL)
        return NULL;
    client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);
    return is_void(cache, client) ? NULL : client;
}

static void serve_stale(struct client_cache *cache, struct client_waiter *waiter,
                        struct client *client)
{
    if (!cache->serving_stale)
        log_warn("client.stale_begun",
                 log_str("reason",
                         "PostgreSQL cannot be asked; expired clients go on being served"));
    cache->serving_stale = true;
    counter_add(&cache->counters->stale, 1);
    waiter->on_client(waiter, CLIENT_FOUND, client, CLIENT_STALE);
}

static struct client_lookup *lookup_start(struct client_cache *cache, struct slice id);

/* Joins the look-up in progress or starts one; NULL when none can start. */
static struct client_lookup *lookup(struct client_cache *cache, struct slice id)
{
    struct client_lookup *found;

    HASH_FIND(hh, cache->batches.lookups, id.bytes, id.length, found);
    return found != NULL ? found : lookup_start(cache, id);
}

static bool is_known_to_be_unknown(struct client_cache *cache, struct slice id, uint64_t now_ms)
{
    struct lru_entry *entry = lru_find(&cache->unknown, id);
    struct unknown *unknown;

    if (entry == NULL)
        return false;
    unknown = H2O_STRUCT_FROM_MEMBER(struct unknown, entry, entry);
    if (unknown->event >= cache->changed_event) {
        if (is_fresh(cache, unknown->event, unknown->fresh_until_ms, now_ms)) {
            if (now_ms >= unknown->refresh_after_ms)
                lookup(cache, id); /* refresh in the background, as for a record */
            return true;
        }
        if (may_serve_stale(cache, unknown->fresh_until_ms, now_ms))
            return true;
    }
    forget_unknown(cache, entry);
    return false;
}

bool client_cache_find(struct client_cache *cache, struct slice id, struct client_waiter *waiter)
{
    uint64_t now_ms = clock_monotonic_ms();
    bool valid = client_id_is_valid(id);
    struct client *client = valid ? cached(cache, id) : NULL;

    waiter->lookup = NULL;
    if (client != NULL && is_fresh(cache, client->event, client->fresh_until_ms, now_ms)) {
        counter_add(&cache->counters->hits, 1);
        if (now_ms >= client->refresh_after_ms)
            lookup(cache, id); /* in the background: active clients never wait */
        waiter->on_client(waiter, CLIENT_FOUND, client, CLIENT_HIT);
        return true;
    }
    if (client != NULL && may_serve_stale(cache, client->fresh_until_ms, now_ms)) {
        serve_stale(cache, waiter, client);
        return true;
    }
    counter_add(&cache->counters->misses, 1);
    if (valid && !is_known_to_be_unknown(cache, id, now_ms))
        return false;
    waiter->on_client(waiter, CLIENT_UNKNOWN, NULL, CLIENT_MISS);
    return true;
}

bool client_cache_look_up(struct client_cache *cache, struct slice id, struct client_waiter *waiter)
{
    struct client_lookup *found;

    HASH_FIND(hh, cache->batches.lookups, id.bytes, id.length, found);
    waiter->lookup = found != NULL ? found : lookup_start(cache, id);
    if (waiter->lookup == NULL) {
        waiter->on_client(waiter, CLIENT_UNAVAILABLE, NULL, CLIENT_MISS);
        return false;
    }
    DL_APPEND(waiter->lookup->waiters, waiter);
    return found == NULL;
}

static void on_result(struct pg_query *query, const PGresult *result, const char *reason);

static bool send_lookup(struct client_cache *cache, struct client_lookup *lookup)
{
    const char *values[] = {lookup->id};

    if (!pg_send(cache->pg, &lookup->query, "client", 1, values))
        return false;
    lookup->event = cache->event;
    ++cache->sent_count;
    return true;
}

static struct client_lookup *make_lookup(struct client_cache *cache, struct slice id)
{
    struct client_lookup *lookup = h2o_mem_alloc(sizeof(*lookup));

    *lookup = (struct client_lookup){.query.on_result = on_result,
                                     .cache = cache,
                                     .started_us = clock_monotonic_us()};
    memcpy(lookup->id, id.bytes, id.length);
    HASH_ADD_KEYPTR(hh, cache->batches.lookups, lookup->id, id.length, lookup);
    return lookup;
}

static struct client_lookup *lookup_start(struct client_cache *cache, struct slice id)
{
    struct lru_entry *entry = lru_peek(&cache->records, id);
    struct client_lookup *lookup;

    if (!pg_is_ready(cache->pg) || cache->queued_count == CLIENT_MAX_QUEUED)
        return NULL;
    lookup = make_lookup(cache, id);
    if (entry != NULL && is_void(cache, H2O_STRUCT_FROM_MEMBER(struct client, entry, entry))) {
        client_batch_add(&cache->batches, lookup);
    } else if (cache->sent_count == CLIENT_MAX_LOOKUPS) {
        DL_APPEND(cache->queued, lookup);
        ++cache->queued_count;
    } else if (!send_lookup(cache, lookup)) {
        HASH_DELETE(hh, cache->batches.lookups, lookup);
        free(lookup);
        return NULL;
    }
    return lookup;
}

/* A random lifetime from `least_ms` to `fresh_ms`, so that records looked up together do not expire
 * together. */
static uint64_t some_life_ms(const struct client_cache *cache, uint64_t least_ms)
{
    return cache->fresh_ms - arc4random_uniform((uint32_t)(cache->fresh_ms - least_ms) + 1);
}

/* Caches the record, or renews the cached one when both hold the same data. Takes ownership of the
 * caller's reference; returns the cached record. */
static struct client *keep(struct client_cache *cache, struct client *client)
{
    struct lru_entry *old = lru_peek(&cache->records, client->id), *evicted;

    if (old != NULL) {
        struct client *replaced = H2O_STRUCT_FROM_MEMBER(struct client, entry, old);

        if (!is_fresh(cache, replaced->event, replaced->fresh_until_ms, clock_monotonic_ms()))
            counter_add(&cache->counters->expirations, 1);
        if (client_equal(replaced, client)) { /* keeps its LRU position */
            replaced->event = client->event;
            replaced->refresh_after_ms = client->refresh_after_ms;
            replaced->fresh_until_ms = client->fresh_until_ms;
            replaced->has_authenticated = false;
            client_release(client);
            return replaced;
        }
        drop(cache, old);
    }
    evicted = lru_add(&cache->records, &client->entry);
    counter_add(&cache->counters->added, 1);
    if (evicted != NULL) {
        release_entry(cache, evicted);
        counter_add(&cache->counters->evictions, 1);
    }
    return client;
}

/* Logs at most one line a second. */
static void note_error(struct client_cache *cache, const char *reason)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct failure failure;

    if (now_ms - cache->error_logged_ms < 1000)
        return;
    cache->error_logged_ms = now_ms;
    failure_set(&failure, "%s", reason);
    failure_one_line(&failure);
    log_warn("client.lookup_failed", log_str("reason", failure.reason));
}

void client_cache_warm(struct client_cache *cache, const PGresult *rows)
{
    for (int row = 0; row != PQntuples(rows); ++row) {
        uint64_t life_ms = some_life_ms(cache, cache->fresh_ms / 2);
        struct failure failure;
        struct client *client = client_make(rows, row, cache->event, life_ms, &failure);

        if (client == NULL) {
            note_error(cache, failure.reason);
            continue;
        }
        keep(cache, client);
        counter_add(&cache->counters->warmed, 1);
    }
}

static void keep_unknown(struct client_cache *cache, const struct client_lookup *lookup)
{
    struct slice id = slice_of(lookup->id);
    struct lru_entry *old = lru_find(&cache->records, id), *evicted;
    struct unknown *unknown = h2o_mem_alloc(sizeof(*unknown));
    uint64_t now_ms = clock_monotonic_ms(), life_ms = some_life_ms(cache, cache->fresh_ms / 10 * 9);

    if (old != NULL)
        drop(cache, old);
    if ((old = lru_find(&cache->unknown, id)) != NULL)
        forget_unknown(cache, old);
    unknown->event = lookup->event;
    unknown->refresh_after_ms = now_ms + life_ms / 5 * 4;
    unknown->fresh_until_ms = now_ms + life_ms;
    memcpy(unknown->id, id.bytes, id.length);
    unknown->entry.key = (struct slice){unknown->id, id.length};
    if ((evicted = lru_add(&cache->unknown, &unknown->entry)) != NULL)
        free(H2O_STRUCT_FROM_MEMBER(struct unknown, entry, evicted));
}

/* Ends the look-up and calls its waiters. */
static void finish(struct client_lookup *lookup, enum client_status status, struct client *client,
                   enum lookup_result result)
{
    struct client_cache *cache = lookup->cache;
    struct client *stale = NULL;

    counter_add(&cache->counters->lookups[result], 1);
    histogram_observe(&cache->counters->lookup_durations,
                      clock_monotonic_us() - lookup->started_us);
    HASH_DELETE(hh, cache->batches.lookups, lookup);
    if (status == CLIENT_UNAVAILABLE)
        stale = cached(cache, slice_of(lookup->id));
    if (stale != NULL && !may_serve_stale(cache, stale->fresh_until_ms, clock_monotonic_ms()))
        stale = NULL;
    while (lookup->waiters != NULL) {
        struct client_waiter *waiter = lookup->waiters;

        client_cache_stop_waiting(waiter);
        if (stale != NULL)
            serve_stale(cache, waiter, stale);
        else
            waiter->on_client(waiter, status, client, CLIENT_MISS);
    }
    free(lookup);
}

/* Sends queued look-ups; those that waited too long fail. */
static void send_queued(struct client_cache *cache)
{
    while (cache->queued != NULL && cache->sent_count < CLIENT_MAX_LOOKUPS) {
        struct client_lookup *lookup = cache->queued;
        bool late = clock_monotonic_us() - lookup->started_us > CLIENT_LOOKUP_MS * 1000;

        DL_DELETE(cache->queued, lookup);
        --cache->queued_count;
        if (late || !send_lookup(cache, lookup))
            finish(lookup, CLIENT_UNAVAILABLE, NULL, LOOKUP_ERROR);
    }
}

static void on_row(struct client_lookup *lookup, const PGresult *rows, int row)
{
    struct client_cache *cache = lookup->cache;
    uint64_t life_ms = some_life_ms(cache, cache->fresh_ms / 10 * 9);
    struct failure failure;
    struct client *client = client_make(rows, row, lookup->event, life_ms, &failure);
    struct lru_entry *entry;

    if (client != NULL && !slice_equal(client->id, slice_of(lookup->id))) {
        failure_set(&failure, "the answer is of another client than was asked for");
        client_release(client);
        client = NULL;
    }
    if (client == NULL) {
        if ((entry = lru_peek(&cache->records, slice_of(lookup->id))) != NULL &&
            is_void(cache, H2O_STRUCT_FROM_MEMBER(struct client, entry, entry)))
            drop(cache, entry); /* otherwise every statement of the round would retry it */
        on_failed(lookup, failure.reason);
    } else {
        if ((entry = lru_find(&cache->unknown, client->id)) != NULL)
            forget_unknown(cache, entry);
        finish(lookup, CLIENT_FOUND, keep(cache, client), LOOKUP_FOUND);
    }
}

static void on_none(struct client_lookup *lookup)
{
    keep_unknown(lookup->cache, lookup);
    finish(lookup, CLIENT_UNKNOWN, NULL, LOOKUP_UNKNOWN);
}

static void on_failed(struct client_lookup *lookup, const char *reason)
{
    note_error(lookup->cache, reason);
    finish(lookup, CLIENT_UNAVAILABLE, NULL, LOOKUP_ERROR);
}

static void on_result(struct pg_query *query, const PGresult *result, const char *reason)
{
    struct client_lookup *lookup = H2O_STRUCT_FROM_MEMBER(struct client_lookup, query, query);
    struct client_cache *cache = lookup->cache;

    --cache->sent_count;
    if (result == NULL || PQresultStatus(result) != PGRES_TUPLES_OK) {
        on_failed(lookup, reason != NULL ? reason : "the answer has no rows");
    } else if (PQntuples(result) == 0) {
        on_none(lookup);
    } else {
        on_row(lookup, result, 0);
    }
    send_queued(cache);
}

void client_cache_stop_waiting(struct client_waiter *waiter)
{
    if (waiter->lookup != NULL) {
        DL_DELETE(waiter->lookup->waiters, waiter);
        waiter->lookup = NULL;
    }
}

/* Most recently used first; skips records that are already being looked up. */
static size_t fill_batch(struct client_batches *batches, struct client_batch *batch, size_t room)
{
    struct client_cache *cache = H2O_STRUCT_FROM_MEMBER(struct client_cache, batches, batches);
    struct lru_entry *entry = lru_newest(&cache->records);
    size_t count = 0;

    for (size_t seen = 0; entry != NULL && seen != CLIENT_ROUND_MAX && count != room;
         ++seen, entry = lru_older(entry)) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);
        struct client_lookup *lookup;

        HASH_FIND(hh, batches->lookups, client->id.bytes, client->id.length, lookup);
        if (client->event < batches->round_event && lookup == NULL) {
            client_batch_take(batch, make_lookup(cache, client->id));
            ++count;
        }
    }
    return count;
}

void client_cache_end_pass(struct client_cache *cache)
{
    client_batch_end_pass(&cache->batches, cache->event);
}
