#include "auth/outage.h"

#include <stddef.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "auth/worker.h"
#include "common/clock.h"
#include "common/log.h"

static struct outage count(const struct process *process)
{
    return (struct outage){
        .stale = workers_sum(process, offsetof(struct counters, cache.stale)),
        .refused = workers_sum(process, offsetof(struct counters,
                                                 oauth_errors[OAUTH_TEMPORARILY_UNAVAILABLE])),
        .decided = workers_sum(process, offsetof(struct counters, limiter.without_redis)),
    };
}

/* True when a log line is due. Without an outage, moves the starting counts forward. */
static bool is_due(struct outage *outage, const struct process *process, bool away)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (!away) {
        *outage = count(process);
        return false;
    }
    if (outage->since_ms == 0) {
        outage->since_ms = now_ms;
        outage->line_ms = now_ms + OUTAGE_LINE_MS;
    }
    if (now_ms < outage->line_ms)
        return false;
    outage->line_ms += OUTAGE_LINE_MS;
    return true;
}

static int64_t away_s(const struct outage *outage)
{
    return (int64_t)(clock_monotonic_ms() - outage->since_ms) / 1000;
}

static size_t workers_without_postgres(const struct process *process)
{
    size_t count = 0;

    for (size_t i = 0; i != process->worker_count; ++i)
        count += !atomic_load(&process->workers[i].has_postgres);
    return count;
}

static bool is_full(const struct process *process)
{
    for (size_t i = 0; i != process->worker_count; ++i) {
        if (process->settings.spool_full == ISSUE_REFUSE &&
            atomic_load(&process->workers[i].spool.full))
            return true;
    }
    return false;
}

static void look_at_postgres(struct outage *outage, const struct process *process, size_t without)
{
    struct outage now;

    if (!is_due(outage, process, without != 0))
        return;
    now = count(process);
    log_warn("pg.away", log_int("away_s", away_s(outage)), log_int("workers", (int64_t)without),
             log_int("stale", (int64_t)(now.stale - outage->stale)),
             log_int("unavailable", (int64_t)(now.refused - outage->refused)),
             log_int("pending", (int64_t)atomic_load(&process->ledger.spool.rows)),
             log_int("spool_bytes", (int64_t)atomic_load(&process->ledger.spool.bytes)));
}

static void look_at_redis(struct outage *outage, const struct process *process, unsigned without)
{
    struct outage now;

    if (!is_due(outage, process, without != 0))
        return;
    now = count(process);
    log_warn("limiter.away", log_int("away_s", away_s(outage)), log_int("workers", without),
             log_int("decided_without", (int64_t)(now.decided - outage->decided)));
}

/* The most serious current problem. */
static const char *status(const struct process *process, size_t without_postgres,
                          unsigned without_redis)
{
    if (process->keys.set == NULL || key_set_signing(process->keys.set, time(NULL)) == NULL)
        return "No token can be issued: there is no active signing key";
    if (atomic_load(&process->workers_verified) != process->worker_count)
        return "No token can be issued: PostgreSQL was not reached yet, or cannot be used";
    if (is_full(process))
        return "No token can be issued: the spool has no room";
    if (without_postgres != 0)
        return "PostgreSQL is away: clients that are cached get tokens";
    return without_redis != 0 ? "Serving, without Redis" : "Serving";
}

void outages_look(struct outages *outages, const struct process *process)
{
    size_t without_postgres = workers_without_postgres(process);
    unsigned without_redis = atomic_load(&process->limiter.fallen_back);
    const char *now = status(process, without_postgres, without_redis);

    look_at_postgres(&outages->postgres, process, without_postgres);
    look_at_redis(&outages->redis, process, without_redis);
    if (now != outages->status)
        sd_notifyf(0, "STATUS=%s (%s, workers: %zu)", now, process->settings.listen,
                   process->worker_count);
    outages->status = now;
}
