/* Look-ups of many clients by one statement, after a change of all: see client_lookup.h. */
#include <utlist.h>

#include "auth/client/client_lookup.h"
#include "common/buffer.h"
#include "common/clock.h"

void client_batch_add(struct client_cache *cache, struct client_lookup *lookup)
{
    DL_APPEND(cache->rechecks.due, lookup);
}

void client_batch_plan_round(struct client_cache *cache)
{
    struct client_rechecks *rechecks = &cache->rechecks;
    uint64_t now_ms = clock_monotonic_ms();

    if (!rechecks->in_round && !timer_is_running(&rechecks->round_timer))
        timer_start(cache->timers, &rechecks->round_timer,
                    rechecks->round_after_ms > now_ms ? rechecks->round_after_ms - now_ms : 1);
}

static void on_round(struct timer *timer)
{
    struct client_cache *cache =
        H2O_STRUCT_FROM_MEMBER(struct client_cache, rechecks.round_timer, timer);

    cache->rechecks.in_round = pg_is_ready(cache->pg);
    cache->rechecks.all_sent = false;
    cache->rechecks.round_event = cache->changed_event;
}

static void end_round(struct client_cache *cache)
{
    struct client_rechecks *rechecks = &cache->rechecks;
    bool due = cache->changed_event > rechecks->round_event;
    uint64_t gap_ms = due ? 2 * rechecks->round_gap_ms : CLIENT_ROUND_GAP_MS;

    rechecks->in_round = false;
    rechecks->round_gap_ms = gap_ms < CLIENT_ROUND_GAP_MAX_MS ? gap_ms : CLIENT_ROUND_GAP_MAX_MS;
    rechecks->round_after_ms = clock_monotonic_ms() + rechecks->round_gap_ms;
    if (due)
        client_batch_plan_round(cache);
}

static void take(struct client_batch *batch, struct client_lookup *lookup)
{
    lookup->batch = batch;
    lookup->event = lookup->cache->event;
    DL_APPEND(batch->sent, lookup);
}

/* Returns how many. */
static size_t take_due(struct client_cache *cache, struct client_batch *batch)
{
    struct client_lookup *lookup;
    size_t count = 0;

    while (count != CLIENT_BATCH_MAX && (lookup = cache->rechecks.due) != NULL) {
        DL_DELETE(cache->rechecks.due, lookup);
        if (clock_monotonic_us() - lookup->started_us > CLIENT_LOOKUP_MS * 1000) {
            client_lookup_failed(lookup, "it waited for too long to be sent");
        } else {
            take(batch, lookup);
            ++count;
        }
    }
    return count;
}

/* Fills the batch, which has so many. One that does not get full is the last of the round. */
static void take_from_round(struct client_cache *cache, struct client_batch *batch, size_t count)
{
    struct client_rechecks *rechecks = &cache->rechecks;
    struct lru_entry *entry = lru_newest(&cache->records);

    for (size_t seen = 0; entry != NULL && seen != CLIENT_ROUND_MAX && count != CLIENT_BATCH_MAX;
         ++seen, entry = lru_older(entry)) {
        struct client *client = H2O_STRUCT_FROM_MEMBER(struct client, entry, entry);
        struct client_lookup *lookup;

        HASH_FIND(hh, cache->lookups, client->id.bytes, client->id.length, lookup);
        if (client->event < rechecks->round_event && lookup == NULL) {
            take(batch, client_lookup_make(cache, client->id));
            ++count;
        }
    }
    rechecks->round_batch = batch;
    rechecks->all_sent = count != CLIENT_BATCH_MAX;
}

/* Each row ends the look-up that it belongs to, and then those end for which there is none. */
static void on_result(struct pg_query *query, const PGresult *result, const char *reason)
{
    struct client_batch *batch = H2O_STRUCT_FROM_MEMBER(struct client_batch, query, query);
    struct client_cache *cache = batch->cache;
    struct client_rechecks *rechecks = &cache->rechecks;
    bool good = PQnfields(result) == CLIENT_COLUMN_COUNT;
    struct client_lookup *lookup;

    for (int row = 0; good && row != PQntuples(result); ++row) {
        struct slice id = slice_of(PQgetvalue(result, row, 0));

        HASH_FIND(hh, cache->lookups, id.bytes, id.length, lookup);
        if (lookup != NULL && lookup->batch == batch) {
            DL_DELETE(batch->sent, lookup);
            client_lookup_found(lookup, result, row);
        }
    }
    while ((lookup = batch->sent) != NULL) {
        DL_DELETE(batch->sent, lookup);
        if (good)
            client_lookup_none(lookup);
        else
            client_lookup_failed(lookup, reason != NULL ? reason : "the answer has other columns");
    }
    if (batch != rechecks->round_batch)
        return;
    rechecks->round_batch = NULL;
    if (rechecks->all_sent || !good)
        end_round(cache);
}

static void send_batch(struct client_cache *cache, struct client_batch *batch)
{
    struct client_rechecks *rechecks = &cache->rechecks;
    size_t count = take_due(cache, batch);
    struct buffer ids = {0};
    struct client_lookup *lookup;
    const char *values[1];

    if (rechecks->in_round && rechecks->round_batch == NULL)
        take_from_round(cache, batch, count);
    DL_FOREACH (batch->sent, lookup)
        buffer_printf(&ids, "%s\"%s\"", lookup == batch->sent ? "{" : ",", lookup->id);
    buffer_append(&ids, "}", sizeof("}"));
    values[0] = ids.bytes;
    if (batch->sent == NULL)
        on_result(&batch->query, NULL, NULL);
    else if (!pg_send(cache->pg, &batch->query, "clients", 1, values))
        on_result(&batch->query, NULL, "the connection is lost");
    else
        counter_add(&cache->counters->rechecks, 1);
    buffer_dispose(&ids);
}

void client_cache_end_pass(struct client_cache *cache)
{
    struct client_rechecks *rechecks = &cache->rechecks;
    struct client_lookup *lookup;

    while (!pg_is_ready(cache->pg) && (lookup = rechecks->due) != NULL) {
        DL_DELETE(rechecks->due, lookup);
        client_lookup_failed(lookup, "the connection is lost");
    }
    for (size_t i = 0; i != CLIENT_BATCHES; ++i) {
        bool round_goes_on = rechecks->in_round && rechecks->round_batch == NULL;

        if (rechecks->batches[i].sent == NULL && (rechecks->due != NULL || round_goes_on))
            send_batch(cache, &rechecks->batches[i]);
    }
}

void client_batch_open(struct client_cache *cache)
{
    cache->rechecks.round_timer.on_time = on_round;
    cache->rechecks.round_gap_ms = CLIENT_ROUND_GAP_MS;
    for (size_t i = 0; i != CLIENT_BATCHES; ++i) {
        cache->rechecks.batches[i].query.on_result = on_result;
        cache->rechecks.batches[i].cache = cache;
    }
}

void client_batch_close(struct client_cache *cache)
{
    timer_stop(cache->timers, &cache->rechecks.round_timer);
}
