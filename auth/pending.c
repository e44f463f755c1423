#include "auth/pending.h"

#include "auth/worker.h"

struct pending pending_read(const struct process *process)
{
    struct ledger *ledger = (struct ledger *)&process->ledger; /* reading locks its mutex */
    const struct spool_writer *writers[WORKERS_MAX];
    int64_t oldest_ms, recovering_ms = atomic_load(&ledger->recovering_unix_ms);

    for (size_t i = 0; i != process->worker_count; ++i)
        writers[i] = &process->workers[i].spool;
    oldest_ms = spool_oldest_unix_ms(&ledger->spool, writers, process->worker_count);
    if (recovering_ms != 0 && (oldest_ms == 0 || recovering_ms < oldest_ms))
        oldest_ms = recovering_ms;
    return (struct pending){
        .rows = atomic_load(&ledger->spool.rows) + atomic_load(&ledger->recovering_rows),
        .oldest_unix_ms = oldest_ms,
    };
}
