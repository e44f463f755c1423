/* The ledger: every token that is answered with becomes a row of issued_tokens, exactly once.
 *
 * A worker appends the rows of a pass to its segment before the answers of the pass leave
 * (common/spool/spool.h). One thread, the sender, takes closed segments and writes them to
 * PostgreSQL by COPY, several in one transaction together with their batch ids in flushed_batches,
 * then removes them: a segment that is sent again, because a crash or a lost answer came between,
 * is known by its id. What an earlier process left goes the same way.
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
    atomic_bool ended; /* the thread */

    /* Written by the sender's thread. */
    struct ledger_sender sender;
    struct spool_abandoned abandoned; /* what is being sent of an earlier process */
    char tried[UUID_TEXT_LENGTH + 1]; /* the last directory that was adopted in this round */
    uint64_t adopt_at_ms;             /* monotonic: when to look for one */
    uint64_t maintain_at_ms;          /* monotonic: when to make partitions */
    struct backoff backoff;
    struct failure last; /* why it did not; logged when it changes */
    struct counter flush_errors;
    struct counter maintenance_errors;
    atomic_bool maintenance_fails; /* the last one did, though PostgreSQL was reached */
    struct histogram flush_durations;
    _Atomic uint64_t recovering_rows; /* of `abandoned` */
    _Atomic uint64_t recovering_bytes;
    _Atomic int64_t recovering_unix_ms;     /* when its oldest segment was opened; 0: none */
    _Atomic uint64_t abandoned_directories; /* of the spool, at the last look */
    _Atomic uint64_t unreadable_directories;
};

/* Makes the spool; the sender does not run yet. `database_url` must outlive the ledger. */
MUST_USE bool ledger_open(struct ledger *ledger, const char *database_url,
                          const struct spool_config *config, struct failure *failure);
MUST_USE bool ledger_start(struct ledger *ledger, struct failure *failure);

/* After the last worker has closed its writer: sends what is left, until `deadline_ms` (monotonic).
 * What cannot be sent stays for the next start. False when the sender is stuck: then its thread
 * still runs, and the process has to end without freeing anything. */
MUST_USE bool ledger_stop(struct ledger *ledger, uint64_t deadline_ms);
void ledger_close(struct ledger *ledger);

#endif
