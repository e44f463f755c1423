/* Segments to PostgreSQL, over one connection (ledger_pg.h). Used by the server's sender thread and
 * by `jotd ledger flush` and `retry`.
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

#define LEDGER_SEND_SEGMENTS 32 /* in one transaction, at most */

struct ledger_sender {
    struct ledger_pg pg;
    const char *base;       /* where refused lines are set aside */
    struct buffer bytes;    /* of the segment at hand */
    uint64_t counted_batch; /* the number of the last one that was counted */
    struct counter batches[SPOOL_TRIGGER_COUNT];
    struct counter rows_written;
    struct counter rows_rejected;
    struct spool_passed_over passed_over;
};

/* Sends the first segments of the list (at most LEDGER_SEND_SEGMENTS), removes them from it and
 * discards them: written, found to be written before, or set aside. `spool` as for spool_discard.
 * False when they could not be sent now; then they are still in the list, and the connection is
 * closed. */
MUST_USE bool ledger_sender_send(struct ledger_sender *sender, struct spool *spool,
                                 struct spool_segment **segments, struct failure *failure);

void ledger_sender_dispose(struct ledger_sender *sender);

/* Makes the partitions of this month and three ahead, and forgets batches of over 30 days ago, in
 * pieces that take well under a second: `more` says that there are others left. */
MUST_USE bool ledger_sender_maintain(struct ledger_sender *sender, bool *more,
                                     struct failure *failure);

#endif
