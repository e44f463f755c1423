/* Sends segments to PostgreSQL over one connection (ledger_pg.h). Used by the server's sender
 * thread and by `jotd ledger flush` and `retry`.
 */
#ifndef AUTH_LEDGER_LEDGER_SENDER_H
#define AUTH_LEDGER_LEDGER_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/ledger/ledger_pg.h"
#include "common/attributes.h"
#include "common/counter.h"
#include "common/failure.h"
#include "common/spool/spool.h"
#include "common/spool/spool_passed_over.h"
#include "common/spool/spool_segment.h"

#define LEDGER_SEND_SEGMENTS 32 /* at most, in one transaction */

struct ledger_sender {
    struct pg_blocking pg;
    const char *base;       /* where refused and expired lines are set aside */
    struct buffer bytes;    /* of the current segment */
    uint64_t counted_batch; /* number of the last batch counted */
    struct counter batches[SPOOL_TRIGGER_COUNT];
    struct counter rows_written;
    struct counter rows_rejected;
    struct spool_passed_over passed_over;
};

/* Both texts must outlive it. Does not connect yet (ledger_pg_connect). */
void ledger_sender_open(struct ledger_sender *sender, const char *url, const char *base);

/* Sends the first segments of the list (at most LEDGER_SEND_SEGMENTS), removes them from it and
 * discards them: written, found already written, or set aside. Also drops segments that the disk
 * has lost. `spool` is as for spool_discard. False if they could not all be sent now: the rest stay
 * in the list, and the connection is closed, unless a sync failed. */
MUST_USE bool ledger_sender_send(struct ledger_sender *sender, struct spool *spool,
                                 struct spool_segment **segments, struct failure *failure);

void ledger_sender_dispose(struct ledger_sender *sender);

/* Makes the partitions of this month and the next three, and forgets batches older than 30 days and
 * revoked tokens that have expired, in chunks that take well under a second: `more` says whether
 * some are left. */
MUST_USE bool ledger_sender_maintain(struct ledger_sender *sender, bool *more,
                                     struct failure *failure);

#endif
