#include "auth/store/ledger_store.h"

#include <string.h>

#include "common/integer.h"

/* While this waits for its table lock, writers queue behind it. */
#define LOCK_TIMEOUT "3s"

const char *ledger_store_cutoff(const struct ledger_prune *prune)
{
    return PQgetvalue(prune->cutoff, 0, 0);
}

const char *ledger_store_left(const struct ledger_prune *prune)
{
    return PQgetvalue(prune->left, 0, 0);
}

const char *ledger_store_batches(const struct ledger_prune *prune)
{
    return PQgetvalue(prune->batches, 0, 0);
}

size_t ledger_store_partition_count(const struct ledger_prune *prune)
{
    return (size_t)PQntuples(prune->partitions);
}

struct partition_values ledger_store_partition(const struct ledger_prune *prune, size_t row)
{
    return (struct partition_values){store_text(prune->partitions, (int)row, 0),
                                     store_text(prune->partitions, (int)row, 1),
                                     store_text(prune->partitions, (int)row, 2)};
}

static PGresult *find_cutoff(PGconn *connection, long long keep_months,
                             struct store_failure *failure)
{
    char months[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {months};

    if (keep_months < 1 || keep_months > LEDGER_STORE_KEEP_MONTHS_MAX) {
        store_fail(failure, STORE_INVALID, "/keep_months", "months are a whole number from 1 to %d",
                   LEDGER_STORE_KEEP_MONTHS_MAX);
        return NULL;
    }
    integer_write(keep_months, months);
    return store_query(connection,
                       "SELECT " STORE_TIME(
                           "cutoff") " FROM date_trunc('month', now()"
                                     " - $1::integer * interval '1 month') AS cutoff",
                       1, values, failure);
}

static PGresult *find_partitions(PGconn *connection, const char *cutoff,
                                 struct store_failure *failure)
{
    return store_query(
        connection,
        "SELECT name, rows, bytes FROM (SELECT c.oid::regclass::text AS name,"
        "  CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows,"
        "  pg_total_relation_size(c.oid) AS bytes,"
        "  issued_tokens_partition_end(c.oid) AS ends"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'issued_tokens'::regclass) AS partitions"
        " WHERE ends <= $1::timestamptz ORDER BY ends", /* the default partition has no end */
        1, &cutoff, failure);
}

static bool drop(PGconn *connection, const struct ledger_prune *prune, size_t row,
                 struct store_failure *failure)
{
    const char *name = ledger_store_partition(prune, row).name;
    PGresult *result = PQexecParams(connection, "SELECT drop_issued_tokens_partition($1)", 1, NULL,
                                    &name, NULL, NULL, 0);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool dropped;

    if (state != NULL && strcmp(state, "55P03") == 0) { /* lock_not_available */
        PQclear(result);
        return store_fail(failure, STORE_UNAVAILABLE, "",
                          "issued_tokens was in use for more than " LOCK_TIMEOUT ": %zu of %zu "
                          "partitions were dropped; run it again when fewer read or write it",
                          row, ledger_store_partition_count(prune));
    }
    result = store_check(connection, result, failure);
    dropped = result != NULL;
    PQclear(result);
    return dropped;
}

/* A dry run rolls back, so that the rule is in one place only. */
static PGresult *forget_batches(PGconn *connection, bool is_dry_run, struct store_failure *failure)
{
    PGresult *result = NULL;

    if (store_execute(connection, "BEGIN", failure))
        result = store_query(connection, "SELECT forget_flushed_batches(NULL)", 0, NULL, failure);
    if (result != NULL && !store_execute(connection, is_dry_run ? "ROLLBACK" : "COMMIT", failure)) {
        PQclear(result);
        result = NULL;
    }
    return result;
}

bool ledger_store_prune(PGconn *connection, struct ledger_prune *prune,
                        void (*on_partition)(void *context,
                                             const struct partition_values *partition),
                        void *context, struct store_failure *failure)
{
    const char *cutoff;

    if (!store_execute(connection,
                       "SET timezone = 'UTC'; SET client_min_messages = warning;"
                       " SET lock_timeout = '" LOCK_TIMEOUT "'",
                       failure) ||
        (prune->cutoff = find_cutoff(connection, prune->keep_months, failure)) == NULL)
        return false;
    cutoff = ledger_store_cutoff(prune);
    if ((prune->partitions = find_partitions(connection, cutoff, failure)) == NULL)
        return false;
    for (size_t row = 0; row != ledger_store_partition_count(prune); ++row) {
        struct partition_values partition = ledger_store_partition(prune, row);

        if (!prune->is_dry_run && !drop(connection, prune, row, failure))
            return false;
        on_partition(context, &partition);
    }
    prune->left =
        store_query(connection,
                    "SELECT count(*) FROM issued_tokens_default WHERE issued_at < $1::timestamptz",
                    1, &cutoff, failure);
    return prune->left != NULL &&
           (prune->batches = forget_batches(connection, prune->is_dry_run, failure)) != NULL;
}

void ledger_store_prune_end(struct ledger_prune *prune)
{
    PQclear(prune->batches);
    PQclear(prune->left);
    PQclear(prune->partitions);
    PQclear(prune->cutoff);
}
