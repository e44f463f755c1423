/* The months of the ledger: which there are, and how old ones go. */
#ifndef AUTH_STORE_LEDGER_STORE_H
#define AUTH_STORE_LEDGER_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

#define LEDGER_STORE_KEEP_MONTHS_MAX 1200

/* A monthly partition. Views into what they were read from; numbers as text. */
struct partition_values {
    const char *name;
    const char *rows; /* an estimate; NULL: never counted */
    const char *bytes;
};

/* What is to go, or went. Zero it to start; ledger_store_prune_end frees it. */
struct ledger_prune {
    bool is_dry_run;       /* the caller's: only says what would go */
    long long keep_months; /* the caller's: from 1 to LEDGER_STORE_KEEP_MONTHS_MAX */
    PGresult *cutoff;
    PGresult *partitions; /* those that have ended by the cutoff, oldest first */
    PGresult *left;       /* rows from before it in the default partition, which stay */
    PGresult *batches;    /* that were forgotten */
};

/* Drops the partitions of before this month and the `keep_months` before it, each in a transaction
 * of its own, and forgets batches of over 30 days ago. Calls `on_partition` after each. */
MUST_USE bool ledger_store_prune(PGconn *connection, struct ledger_prune *prune,
                                 void (*on_partition)(void *context,
                                                      const struct partition_values *partition),
                                 void *context, struct store_failure *failure);

struct partition_values ledger_store_partition(const struct ledger_prune *prune, size_t row);
size_t ledger_store_partition_count(const struct ledger_prune *prune);
const char *ledger_store_cutoff(const struct ledger_prune *prune);  /* RFC 3339 */
const char *ledger_store_left(const struct ledger_prune *prune);    /* rows */
const char *ledger_store_batches(const struct ledger_prune *prune); /* a number */

void ledger_store_prune_end(struct ledger_prune *prune);

#endif
