#include "auth/client/client_batch.h"

#include <utlist.h>

#include "common/buffer.h"
#include "common/clock.h"

void client_batch_add(struct client_batches *batches, struct client_lookup *lookup)
{
    DL_APPEND(batches->due, lookup);
}

void client_batch_plan_round(struct client_batches *batches, uint64_t event)
{
    uint64_t now_ms = clock_monotonic_ms();

    batches->changed_event = event;
    if (!batches->in_round && !timer_is_running(&batches->round_timer))
        timer_start(batches->timers, &batches->round_timer,
                    batches->round_after_ms > now_ms ? batches->round_after_ms - now_ms : 1);
}

static void on_round(struct timer *timer)
{
    struct client_batches *batches =
        H2O_STRUCT_FROM_MEMBER(struct client_batches, round_timer, timer);

    batches->in_round = pg_is_ready(batches->pg);
    batches->all_sent = false;
    batches->round_event = batches->changed_event;
}

static void end_round(struct client_batches *batches)
{
    bool due = batches->changed_event > batches->round_event;
    uint64_t gap_ms = due ? 2 * batches->round_gap_ms : CLIENT_ROUND_GAP_MS;

    batches->in_round = false;
    batches->round_gap_ms = gap_ms < CLIENT_ROUND_GAP_MAX_MS ? gap_ms : CLIENT_ROUND_GAP_MAX_MS;
    batches->round_after_ms = clock_monotonic_ms() + batches->round_gap_ms;
    if (due)
        client_batch_plan_round(batches, batches->changed_event);
}

void client_batch_take(struct client_batch *batch, struct client_lookup *lookup)
{
    lookup->batch = batch;
    DL_APPEND(batch->sent, lookup);
}

/* Moves due look-ups to the batch; returns how many. */
static size_t take_due(struct client_batches *batches, struct client_batch *batch)
{
    struct client_lookup *lookup;
    size_t count = 0;

    while (count != CLIENT_BATCH_MAX && (lookup = batches->due) != NULL) {
        DL_DELETE(batches->due, lookup);
        if (clock_monotonic_us() - lookup->started_us > CLIENT_LOOKUP_MS * 1000) {
            batches->on_failed(lookup, "it waited for too long to be sent");
        } else {
            client_batch_take(batch, lookup);
            ++count;
        }
    }
    return count;
}

/* Fills up the batch, which holds `count` look-ups. One that stays short ends the round. */
static void take_from_round(struct client_batches *batches, struct client_batch *batch,
                            size_t count)
{
    count += batches->fill(batches, batch, CLIENT_BATCH_MAX - count);
    batches->round_batch = batch;
    batches->all_sent = count != CLIENT_BATCH_MAX;
}

/* Completes the look-up of each row, then those without a row. */
static void on_result(struct pg_query *query, const PGresult *result, const char *reason)
{
    struct client_batch *batch = H2O_STRUCT_FROM_MEMBER(struct client_batch, query, query);
    struct client_batches *batches = batch->owner;
    bool good = PQnfields(result) == CLIENT_COLUMN_COUNT;
    struct client_lookup *lookup;

    for (int row = 0; good && row != PQntuples(result); ++row) {
        struct slice id = slice_of(PQgetvalue(result, row, 0));

        HASH_FIND(hh, batches->lookups, id.bytes, id.length, lookup);
        if (lookup != NULL && lookup->batch == batch) {
            DL_DELETE(batch->sent, lookup);
            batches->on_row(lookup, result, row);
        }
    }
    while ((lookup = batch->sent) != NULL) {
        DL_DELETE(batch->sent, lookup);
        if (good)
            batches->on_none(lookup);
        else
            batches->on_failed(lookup, reason != NULL ? reason : "the answer has other columns");
    }
    if (batch != batches->round_batch)
        return;
    batches->round_batch = NULL;
    if (batches->all_sent || !good)
        end_round(batches);
}

static void send_batch(struct client_batches *batches, struct client_batch *batch, uint64_t event)
{
    size_t count = take_due(batches, batch);
    struct buffer ids = {0};
    struct client_lookup *lookup;
    const char *values[1];

    if (batches->in_round && batches->round_batch == NULL)
        take_from_round(batches, batch, count);
    DL_FOREACH (batch->sent, lookup) {
        lookup->event = event;
        buffer_printf(&ids, "%s\"%s\"", lookup == batch->sent ? "{" : ",", lookup->id);
    }
    buffer_append(&ids, "}", sizeof("}"));
    values[0] = ids.bytes;
    if (batch->sent == NULL)
        on_result(&batch->query, NULL, NULL);
    else if (!pg_send(batches->pg, &batch->query, "clients", 1, values))
        on_result(&batch->query, NULL, "the connection is lost");
    else
        counter_add(batches->statements, 1);
    buffer_dispose(&ids);
}

void client_batch_end_pass(struct client_batches *batches, uint64_t event)
{
    struct client_lookup *lookup;

    while (!pg_is_ready(batches->pg) && (lookup = batches->due) != NULL) {
        DL_DELETE(batches->due, lookup);
        batches->on_failed(lookup, "the connection is lost");
    }
    for (size_t i = 0; i != CLIENT_BATCHES; ++i) {
        bool round_goes_on = batches->in_round && batches->round_batch == NULL;

        if (batches->batches[i].sent == NULL && (batches->due != NULL || round_goes_on))
            send_batch(batches, &batches->batches[i], event);
    }
}

void client_batch_open(struct client_batches *batches)
{
    batches->round_timer.on_time = on_round;
    batches->round_gap_ms = CLIENT_ROUND_GAP_MS;
    for (size_t i = 0; i != CLIENT_BATCHES; ++i) {
        batches->batches[i].query.on_result = on_result;
        batches->batches[i].owner = batches;
    }
}

void client_batch_close(struct client_batches *batches)
{
    timer_stop(batches->timers, &batches->round_timer);
}
