/* The ledger's connection to PostgreSQL: blocking, with deadlines of its own. A call that waits in
 * vain closes it, and those that follow fail until it is connected anew.
 */
#ifndef AUTH_LEDGER_LEDGER_PG_H
#define AUTH_LEDGER_LEDGER_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"

/* Zero it and set `url`. */
struct ledger_pg {
    const char *url;
    void (*on_wait)(struct ledger_pg *); /* each second that PostgreSQL is waited for; or NULL */
    PGconn *connection;                  /* NULL: not connected */
    uint64_t notice_ms;                  /* monotonic: when one was logged */
};

enum ledger_outcome {
    LEDGER_WRITTEN,
    LEDGER_REFUSED, /* for the content of the rows */
    LEDGER_FAILED,  /* not now */
};

/* Connects unless it is connected. Refuses a schema that this program does not know. */
MUST_USE bool ledger_pg_connect(struct ledger_pg *pg, struct failure *failure);

/* Harmless when it is closed already. */
void ledger_pg_close(struct ledger_pg *pg);

/* Runs statements by the simple protocol; gives the last one's result, or the failed one's, which
 * is the caller's. NULL when there is no connection, or none any more. */
MUST_USE PGresult *ledger_pg_execute(struct ledger_pg *pg, const char *sql);

/* Takes over `result`, which may be NULL; says what it means, and why. */
enum ledger_outcome ledger_pg_judge(PGresult *result, ExecStatusType expected,
                                    struct failure *failure);

/* Runs statements of which the last one gives no rows. */
MUST_USE bool ledger_pg_command(struct ledger_pg *pg, const char *sql, struct failure *failure);

/* Adds lines in COPY's text format to issued_tokens. After LEDGER_REFUSED the transaction, or its
 * savepoint, is to be rolled back. */
MUST_USE enum ledger_outcome ledger_pg_copy(struct ledger_pg *pg, const char *lines, size_t length,
                                            struct failure *failure);

#endif
