#include "auth/ledger/ledger.h"

#include <h2o.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utlist.h>

#include "auth/ledger/ledger_row.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/spool/spool_abandoned.h"
#include "common/spool/spool_list.h"
#include "common/spool/spool_segment.h"

#define ADOPT_EVERY_MS    10000
#define MAINTAIN_EVERY_MS 86400000
#define WAIT_MS           1000
#define BACKOFF_MIN_MS    100
#define BACKOFF_MAX_MS    2000

static void note_success(struct ledger *ledger)
{
    if (backoff_is_failing(&ledger->backoff))
        log_info("ledger.resumed", log_int("pending", (int64_t)atomic_load(&ledger->spool.rows)));
    backoff_reset(&ledger->backoff);
    ledger->last.reason[0] = '\0';
}

static void note_failure(struct ledger *ledger, const struct failure *failure)
{
    counter_add(&ledger->flush_errors, 1);
    if (strcmp(failure->reason, ledger->last.reason) != 0)
        log_error("ledger.flush_failed", log_str("reason", failure->reason),
                  log_int("pending", (int64_t)atomic_load(&ledger->spool.rows)));
    ledger->last = *failure;
}

/* Sends the first segments of the list. */
static bool flush(struct ledger *ledger, struct spool *spool, struct spool_segment **segments)
{
    struct failure failure;

    if (*segments != NULL) {
        uint64_t started_us = clock_monotonic_us();
        uint64_t before = counter_read(&ledger->sender.rows_written);

        if (!ledger_pg_connect(&ledger->sender.pg, &failure) ||
            !ledger_sender_send(&ledger->sender, spool, segments, &failure)) {
            note_failure(ledger, &failure);
            return false;
        }
        histogram_observe(&ledger->flush_durations, clock_monotonic_us() - started_us);
        log_debug("ledger.flushed",
                  log_int("rows", (int64_t)(counter_read(&ledger->sender.rows_written) - before)),
                  log_int("us", (int64_t)(clock_monotonic_us() - started_us)));
        note_success(ledger);
    }
    return true;
}

static void count_recovering(struct ledger *ledger)
{
    const struct spool_segment *segment;
    uint64_t rows = 0, bytes = 0;

    DL_FOREACH (ledger->abandoned.segments, segment) {
        rows += segment->rows;
        bytes += segment->bytes;
    }
    atomic_store(&ledger->recovering_rows, rows);
    atomic_store(&ledger->recovering_bytes, bytes);
    atomic_store(&ledger->recovering_unix_ms, ledger->abandoned.segments != NULL
                                                  ? uuid_v7_unix_ms(&ledger->abandoned.segments->id)
                                                  : 0);
}

static void count_directories(struct ledger *ledger)
{
    struct spool_directories found = spool_list_count_directories(ledger->spool.config.base);

    atomic_store(&ledger->abandoned_directories, found.abandoned);
    atomic_store(&ledger->unreadable_directories, found.unreadable);
}

/* Sends some segments of earlier processes, one directory at a time. False if that failed. */
static bool recover(struct ledger *ledger)
{
    struct spool_abandoned *abandoned = &ledger->abandoned;
    bool flushed;

    if (abandoned->directory == NULL) {
        if (clock_monotonic_ms() < ledger->adopt_at_ms)
            return true;
        if (ledger->tried[0] == '\0')
            count_directories(ledger);
        if (!spool_abandoned_adopt(ledger->spool.config.base, ledger->tried, LEDGER_ROW_FORMAT,
                                   &ledger->sender.passed_over, abandoned)) {
            ledger->adopt_at_ms = clock_monotonic_ms() + ADOPT_EVERY_MS;
            if (ledger->tried[0] != '\0')
                count_directories(ledger);
            ledger->tried[0] = '\0';
            return true;
        }
        snprintf(ledger->tried, sizeof(ledger->tried), "%s",
                 strrchr(abandoned->directory, '/') + 1);
        count_recovering(ledger);
        if (abandoned->segments != NULL)
            log_info("ledger.recovering", log_str("directory", abandoned->directory),
                     log_int("rows", (int64_t)atomic_load(&ledger->recovering_rows)));
    }
    flushed = flush(ledger, NULL, &abandoned->segments);
    count_recovering(ledger);
    if (flushed && abandoned->segments == NULL)
        spool_abandoned_release(abandoned);
    return flushed;
}

static void maintain(struct ledger *ledger)
{
    struct failure failure;
    bool more, reached;

    if (clock_monotonic_ms() < ledger->maintain_at_ms)
        return;
    reached = ledger_pg_connect(&ledger->sender.pg, &failure);
    if (reached && ledger_sender_maintain(&ledger->sender, &more, &failure)) {
        atomic_store(&ledger->maintenance_fails, false);
        if (!more)
            ledger->maintain_at_ms = clock_monotonic_ms() + MAINTAIN_EVERY_MS;
        return;
    }
    log_warn("ledger.maintenance_failed", log_str("reason", failure.reason));
    if (reached) {
        counter_add(&ledger->maintenance_errors, 1);
        atomic_store(&ledger->maintenance_fails, true);
    }
    pg_blocking_close(&ledger->sender.pg);
    ledger->maintain_at_ms = clock_monotonic_ms() + 60000;
}

/* Keeps syncing closed segments to disk, even while PostgreSQL is slow to answer. */
static void on_wait(struct pg_blocking *pg)
{
    struct ledger *ledger = H2O_STRUCT_FROM_MEMBER(struct ledger, sender.pg, pg);

    spool_sync_closed(&ledger->spool);
}

/* Sends the first closed segments, or all of them when stopping. The rest go back, so that segments
 * closed meanwhile are synced before a long backlog is sent. */
static bool flush_closed(struct ledger *ledger)
{
    /* While there may be more to recover, do not wait. */
    bool recovering =
        ledger->abandoned.directory != NULL || clock_monotonic_ms() >= ledger->adopt_at_ms;
    uint64_t wait_ms = recovering ? 0 : WAIT_MS;
    struct spool_segment *segments = spool_take(&ledger->spool, wait_ms);
    bool flushed;

    do
        flushed = flush(ledger, &ledger->spool, &segments);
    while (flushed && segments != NULL && spool_is_stopping(&ledger->spool));
    spool_give_back(&ledger->spool, segments);
    return flushed;
}

static void *run(void *data)
{
    struct ledger *ledger = data;

    for (;;) {
        bool stopping = spool_is_stopping(&ledger->spool); /* if so, this is the last turn */
        bool flushed = flush_closed(ledger);

        if (stopping)
            break;
        if (flushed) {
            maintain(ledger);
            flushed = recover(ledger);
        }
        if (!flushed)
            spool_pause(&ledger->spool, backoff_pause_ms(&ledger->backoff));
    }
    pg_blocking_close(&ledger->sender.pg);
    atomic_store(&ledger->ended, true);
    return NULL;
}

bool ledger_open(struct ledger *ledger, const char *database_url, const struct spool_config *config,
                 struct failure *failure)
{
    struct spool_config with_format = *config;

    with_format.format = LEDGER_ROW_FORMAT;
    ledger->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
    ledger_sender_open(&ledger->sender, database_url, config->base);
    ledger->sender.pg.on_wait = on_wait;
    return spool_open(&ledger->spool, &with_format, failure);
}

bool ledger_start(struct ledger *ledger, struct failure *failure)
{
    int error = pthread_create(&ledger->thread, NULL, run, ledger);

    ledger->started = error == 0;
    if (!ledger->started)
        return failure_set(failure, "cannot start a thread: %s", strerror(error));
    pthread_setname_np(ledger->thread, "ledger");
    return true;
}

bool ledger_stop(struct ledger *ledger, uint64_t deadline_ms)
{
    struct timespec pause = {0, 5000000};

    if (!ledger->started)
        return true;
    spool_stop(&ledger->spool);
    while (!atomic_load(&ledger->ended) && clock_monotonic_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    if (!atomic_load(&ledger->ended)) {
        log_warn("ledger.unfinished", log_int("rows", (int64_t)atomic_load(&ledger->spool.rows)),
                 log_str("reason", "PostgreSQL does not answer; the next start sends the rest"));
        return false;
    }
    pthread_join(ledger->thread, NULL);
    return true;
}

void ledger_close(struct ledger *ledger)
{
    if (ledger->abandoned.directory != NULL)
        spool_abandoned_release(&ledger->abandoned);
    ledger_sender_dispose(&ledger->sender);
    spool_close(&ledger->spool);
}
