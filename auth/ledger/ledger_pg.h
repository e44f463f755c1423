/* What the ledger does on its connection to PostgreSQL (pg_blocking.h), and what its answers mean
 * for the rows. */
#ifndef AUTH_LEDGER_LEDGER_PG_H
#define AUTH_LEDGER_LEDGER_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/pg/pg_blocking.h"
#include "common/slice.h"

enum ledger_outcome {
    LEDGER_WRITTEN,
    LEDGER_REFUSED, /* because of the rows' content */
    LEDGER_FAILED,  /* may succeed later */
};

/* For the ledger's connections. */
#define LEDGER_PG_NAME              "ledger"
#define LEDGER_PG_ANSWER_TIMEOUT_MS 25000 /* if not even the error of a time-out arrives */

/* Connects unless already connected. Fails on an incompatible schema. */
MUST_USE bool ledger_pg_connect(struct pg_blocking *pg, struct failure *failure);

/* Frees `result`, which may be NULL, and says what it means; sets `failure` if it is not as
 * expected. */
enum ledger_outcome ledger_pg_judge(PGresult *result, ExecStatusType expected,
                                    struct failure *failure);

/* Runs statements, the last of which must return no rows. */
MUST_USE bool ledger_pg_command(struct pg_blocking *pg, const char *sql, struct failure *failure);

/* Adds lines in COPY's text format to issued_tokens; `format` (ledger_row.h) says which columns
 * they have. After LEDGER_REFUSED, roll back the transaction or the savepoint. */
MUST_USE enum ledger_outcome ledger_pg_copy(struct pg_blocking *pg, unsigned format,
                                            struct slice lines, struct failure *failure);

#endif
