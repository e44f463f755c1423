/* The ledger's connection to PostgreSQL: blocking, with its own deadlines. A call that times out
 * closes it, and later calls fail until it is reconnected.
 */
#ifndef AUTH_LEDGER_LEDGER_PG_H
#define AUTH_LEDGER_LEDGER_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/slice.h"

/* Zero it and set `url`. */
struct ledger_pg {
    const char *url;
    void (*on_wait)(struct ledger_pg *); /* called each second of a wait for PostgreSQL; or NULL */
    PGconn *connection;                  /* NULL: not connected */
    uint64_t notice_ms;                  /* monotonic: when a notice was last logged */
};

enum ledger_outcome {
    LEDGER_WRITTEN,
    LEDGER_REFUSED, /* because of the rows' content */
    LEDGER_FAILED,  /* may succeed later */
};

/* Connects unless already connected. Fails on an incompatible schema. */
MUST_USE bool ledger_pg_connect(struct ledger_pg *pg, struct failure *failure);

/* Harmless if already closed. */
void ledger_pg_close(struct ledger_pg *pg);

/* Runs statements by the simple protocol. Returns the result of the last one, or of the one that
 * failed; the caller owns it. NULL if there is no connection, or it was lost. */
MUST_USE PGresult *ledger_pg_execute(struct ledger_pg *pg, const char *sql);

/* Frees `result`, which may be NULL, and says what it means; sets `failure` if it is not as
 * expected. */
enum ledger_outcome ledger_pg_judge(PGresult *result, ExecStatusType expected,
                                    struct failure *failure);

/* Runs statements, the last of which must return no rows. */
MUST_USE bool ledger_pg_command(struct ledger_pg *pg, const char *sql, struct failure *failure);

/* Adds lines in COPY's text format to issued_tokens; `format` (ledger_row.h) says which columns
 * they have. After LEDGER_REFUSED, roll back the transaction or the savepoint. */
MUST_USE enum ledger_outcome ledger_pg_copy(struct ledger_pg *pg, unsigned format,
                                            struct slice lines, struct failure *failure);

#endif
