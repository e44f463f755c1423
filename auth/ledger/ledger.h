/* The ledger: every token that is handed out becomes a row of issued_tokens, exactly once.
 *
 * A worker appends the rows of a pass to its segment before the pass's responses leave
 * (common/spool/spool.h). One thread, the sender, writes closed segments to PostgreSQL by COPY,
 * several in one transaction together with their batch ids in flushed_batches, then removes them. A
 * segment that is sent again after a crash or a lost reply is recognised by its id. Segments that
 * an earlier process left take the same path.
 */
#ifndef AUTH_LEDGER_LEDGER_H
#define AUTH_LEDGER_LEDGER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/ledger/ledger_sender.h"
#include "common/attributes.h"
#include "common/backoff.h"
#include "common/counter.h"
#include "common/failure.h"
#include "common/histogram.h"
#include "common/spool/spool.h"
#include "common/spool/spool_abandoned.h"

struct ledger {
    struct spool spool;
    pthread_t thread;
    bool started;
    atomic_bool ended; /* the thread has finished */

    /* Written by the sender thread. */
    struct ledger_sender sender;
    struct spool_abandoned abandoned; /* an earlier process's segments being sent */
    char tried[UUID_TEXT_LENGTH + 1]; /* last directory adopted in this round */
    uint64_t adopt_at_ms;             /* monotonic: when to look for abandoned ones */
    uint64_t maintain_at_ms;          /* monotonic: when maintenance is due */
    struct backoff backoff;
    struct failure last; /* last flush failure; logged when it changes */
    struct counter flush_errors;
    struct counter maintenance_errors;
    atomic_bool maintenance_fails; /* the last run failed, though PostgreSQL was reached */
    struct histogram flush_durations;
    _Atomic uint64_t recovering_rows; /* in `abandoned` */
    _Atomic uint64_t recovering_bytes;
    _Atomic int64_t recovering_unix_ms;     /* when its oldest segment was opened; 0: none */
    _Atomic uint64_t abandoned_directories; /* in the spool, at the last look */
    _Atomic uint64_t unreadable_directories;
};

/* Opens the spool without starting the sender. `database_url` and `config->base` must outlive the
 * ledger, which sets the format itself. */
MUST_USE bool ledger_open(struct ledger *ledger, const char *database_url,
                          const struct spool_config *config, struct failure *failure);
MUST_USE bool ledger_start(struct ledger *ledger, struct failure *failure);

/* Call after the last worker has closed its writer. Sends what is left until `deadline_ms`
 * (monotonic); the rest waits for the next start. False if the sender is stuck: its thread still
 * runs, so the process must exit without freeing anything. */
MUST_USE bool ledger_stop(struct ledger *ledger, uint64_t deadline_ms);
void ledger_close(struct ledger *ledger);

#endif
