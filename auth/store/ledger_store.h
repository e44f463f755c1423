/* The ledger's monthly partitions: which there are, and dropping old ones. */
#ifndef AUTH_STORE_LEDGER_STORE_H
#define AUTH_STORE_LEDGER_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

#define LEDGER_STORE_KEEP_MONTHS_MAX 1200

/* A monthly partition. Views into the PGresult they were read from; numbers as text. */
struct partition_values {
    const char *name;
    const char *rows; /* estimate; NULL: never analysed */
    const char *bytes;
};

/* A prune and its results. Zero it to start; ledger_store_prune_end frees it. */
struct ledger_prune {
    bool is_dry_run;       /* set by the caller: drops nothing */
    long long keep_months; /* set by the caller: 1 to LEDGER_STORE_KEEP_MONTHS_MAX */
    PGresult *cutoff;
    PGresult *partitions; /* that ended by the cutoff, oldest first */
    PGresult *left;       /* number of older rows in the default partition, which stay */
    PGresult *batches;    /* number of batches forgotten */
};

/* Drops the partitions older than this month and the `keep_months` before it, each in its own
 * transaction, and forgets batches older than 30 days. Calls `on_partition` after each partition,
 * also in a dry run. */
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
