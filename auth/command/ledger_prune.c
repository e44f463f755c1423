/* `jotd ledger prune`: drops the months of issued_tokens that nobody keeps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/ledger.h"

/* While this waits for the table, writers wait behind it. */
#define LOCK_TIMEOUT "3s"

enum column { COLUMN_NAME, COLUMN_ROWS, COLUMN_BYTES };

struct prune {
    PGconn *connection;
    const struct ledger_arguments *arguments;
    const char *cutoff;   /* rows from before it go */
    PGresult *partitions; /* those that have ended by then, oldest first */
    const char *left;     /* rows from before it in the default partition */
    const char *batches;  /* that were forgotten */
};

static PGresult *find_cutoff(PGconn *connection, const char *keep_months, struct failure *failure)
{
    return admin_query(connection,
                       "SELECT " ADMIN_TIME(
                           "cutoff") " FROM date_trunc('month', now()"
                                     " - $1::integer * interval '1 month') AS cutoff",
                       1, &keep_months, failure);
}

static PGresult *find_partitions(const struct prune *prune, struct failure *failure)
{
    return admin_query(
        prune->connection,
        "SELECT name, rows, bytes FROM (SELECT c.oid::regclass::text AS name,"
        "  CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END AS rows,"
        "  pg_total_relation_size(c.oid) AS bytes,"
        "  issued_tokens_partition_end(c.oid) AS ends"
        " FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'issued_tokens'::regclass) AS partitions"
        " WHERE ends <= $1::timestamptz ORDER BY ends", /* the default one has no end */
        1, &prune->cutoff, failure);
}

static bool drop(const struct prune *prune, int row, struct failure *failure)
{
    const char *name = PQgetvalue(prune->partitions, row, COLUMN_NAME);
    PGresult *result = PQexecParams(prune->connection, "SELECT drop_issued_tokens_partition($1)", 1,
                                    NULL, &name, NULL, NULL, 0);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    bool dropped;

    if (state != NULL && strcmp(state, "55P03") == 0) { /* lock_not_available */
        PQclear(result);
        return failure_set(failure,
                           "issued_tokens was in use for more than " LOCK_TIMEOUT ": %d of %d "
                           "partitions were dropped; run it again when fewer read or write it",
                           row, PQntuples(prune->partitions));
    }
    result = admin_check(prune->connection, result, failure);
    dropped = result != NULL;
    PQclear(result);
    return dropped;
}

static void print_partition(const struct prune *prune, int row)
{
    bool counted = !PQgetisnull(prune->partitions, row, COLUMN_ROWS);

    printf("%s %s: %s%s rows, %s bytes\n", prune->arguments->dry_run ? "would drop" : "dropped",
           PQgetvalue(prune->partitions, row, COLUMN_NAME), counted ? "about " : "",
           counted ? PQgetvalue(prune->partitions, row, COLUMN_ROWS) : "uncounted",
           PQgetvalue(prune->partitions, row, COLUMN_BYTES));
}

static bool drop_partitions(const struct prune *prune, struct failure *failure)
{
    for (int row = 0; row != PQntuples(prune->partitions); ++row) {
        if (!prune->arguments->dry_run && !drop(prune, row, failure))
            return false;
        if (!prune->arguments->json)
            print_partition(prune, row);
    }
    return true;
}

/* With --dry-run it is taken back: so the rule stands in one place only. */
static PGresult *forget_batches(const struct prune *prune, struct failure *failure)
{
    bool dry_run = prune->arguments->dry_run;
    PGresult *result = NULL;

    if (admin_execute(prune->connection, "BEGIN", failure))
        result =
            admin_query(prune->connection, "SELECT forget_flushed_batches(NULL)", 0, NULL, failure);
    if (result != NULL &&
        !admin_execute(prune->connection, dry_run ? "ROLLBACK" : "COMMIT", failure)) {
        PQclear(result);
        result = NULL;
    }
    return result;
}

static bool print_json(const struct prune *prune, struct failure *failure)
{
    json_t *partitions = json_array();

    for (int row = 0; row != PQntuples(prune->partitions); ++row)
        json_array_append_new(
            partitions,
            json_pack("{s:s, s:o, s:o}", "name", PQgetvalue(prune->partitions, row, COLUMN_NAME),
                      "rows_estimate", admin_json_number(prune->partitions, row, COLUMN_ROWS),
                      "bytes", admin_json_number(prune->partitions, row, COLUMN_BYTES)));
    return admin_print_json(
        json_pack("{s:b, s:s, s:o, s:I, s:I}", "dry_run", prune->arguments->dry_run, "keeps_from",
                  prune->cutoff, "partitions", partitions, "rows_left_in_default",
                  (json_int_t)strtoll(prune->left, NULL, 10), "batches_forgotten",
                  (json_int_t)strtoll(prune->batches, NULL, 10)),
        failure);
}

static void print_rest(const struct prune *prune)
{
    if (PQntuples(prune->partitions) == 0)
        printf("no month is from before %s\n", prune->cutoff);
    if (strcmp(prune->left, "0") != 0)
        printf("issued_tokens_default has %s rows from before %s, which stay\n", prune->left,
               prune->cutoff);
    printf("%s %s batches of over 30 days ago\n",
           prune->arguments->dry_run ? "would forget" : "forgot", prune->batches);
}

static bool run(PGconn *connection, const struct ledger_arguments *arguments,
                struct failure *failure)
{
    struct prune prune = {.connection = connection, .arguments = arguments};
    PGresult *cutoff = NULL, *left = NULL, *batches = NULL;
    bool done = false;

    if (!admin_execute(connection,
                       "SET timezone = 'UTC'; SET client_min_messages = warning;"
                       " SET lock_timeout = '" LOCK_TIMEOUT "'",
                       failure) ||
        (cutoff = find_cutoff(connection, arguments->keep_months, failure)) == NULL)
        goto end;
    prune.cutoff = PQgetvalue(cutoff, 0, 0);
    if ((prune.partitions = find_partitions(&prune, failure)) == NULL ||
        !drop_partitions(&prune, failure) ||
        (left = admin_query(connection,
                            "SELECT count(*) FROM issued_tokens_default"
                            " WHERE issued_at < $1::timestamptz",
                            1, &prune.cutoff, failure)) == NULL ||
        (batches = forget_batches(&prune, failure)) == NULL)
        goto end;
    prune.left = PQgetvalue(left, 0, 0);
    prune.batches = PQgetvalue(batches, 0, 0);
    if (arguments->json) {
        done = print_json(&prune, failure);
    } else {
        print_rest(&prune);
        done = true;
    }

end:
    PQclear(batches);
    PQclear(left);
    PQclear(prune.partitions);
    PQclear(cutoff);
    return done;
}

int ledger_run_prune(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"keep-months", required_argument, NULL, LEDGER_OPTION_KEEP_MONTHS},
        {"dry-run", no_argument, NULL, LEDGER_OPTION_DRY_RUN},
        {"json", no_argument, NULL, LEDGER_OPTION_JSON},
        ADMIN_HELP_OPTION,
        {0},
    };
    struct ledger_arguments arguments;
    struct failure failure;
    PGconn *connection;
    int status;

    if (!ledger_arguments_read(command, argc, argv, options, &arguments, &status))
        return status;
    if (arguments.keep_months == NULL)
        return cli_usage(command, "--keep-months N is missing");
    status = (connection = admin_connect(&failure)) != NULL && run(connection, &arguments, &failure)
                 ? CLI_DONE
                 : cli_fail(&failure);
    PQfinish(connection);
    return status;
}
