/* A token as a row of issued_tokens, in the text format of PostgreSQL's COPY. */
#ifndef AUTH_LEDGER_LEDGER_ROW_H
#define AUTH_LEDGER_LEDGER_ROW_H

#include <stdint.h>

#include "auth/token/access_token.h"
#include "common/slice.h"
#include "common/spool/spool.h"

/* Appends a token's row to the pass. Call only after spool_has_room. */
void ledger_row_append(struct spool_writer *writer, const struct access_token_claims *claims,
                       struct slice tier, const char *kid, int64_t issued_at_ms);

#endif
