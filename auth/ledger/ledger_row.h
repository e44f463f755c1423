/* A token as a row of issued_tokens, in the text format of PostgreSQL's COPY.
 *
 * The format of the rows in a segment is their columns, which ledger_pg_copy names:
 *   1: jti to expires_at
 *   2: then organization and credential
 */
#ifndef AUTH_LEDGER_LEDGER_ROW_H
#define AUTH_LEDGER_LEDGER_ROW_H

#include <stdint.h>

#include "auth/token/access_token.h"
#include "common/slice.h"
#include "common/spool/spool.h"

#define LEDGER_ROW_FORMAT 2 /* of ledger_row_append, and the newest that is known */

/* What a row says beside the claims of the token. */
struct ledger_row {
    struct slice tier;
    const char *kid;
    int64_t issued_at_ms;
    struct slice organization; /* empty: none */
    struct slice credential;   /* id of the secret that was used */
};

/* Appends a token's row to the pass. Call only after spool_has_room. */
void ledger_row_append(struct spool_writer *writer, const struct access_token_claims *claims,
                       const struct ledger_row *row);

#endif
