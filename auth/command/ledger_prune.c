/* `jotd ledger prune`: drops old months of issued_tokens, and removes old rows of audit_log. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/audit_store.h"
#include "auth/store/ledger_store.h"

struct values {
    struct cli_number keep_months, keep_audit_months;
    bool dry_run, json;
};

static const struct cli_option options[] = {
    {.name = "keep-months",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct values, keep_months),
     .value = "N",
     .min = 1,
     .max = LEDGER_STORE_KEEP_MONTHS_MAX,
     .help = "of the issued tokens, 1 to 1200"},
    {.name = "keep-audit-months",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct values, keep_audit_months),
     .value = "N",
     .min = 1,
     .max = AUDIT_STORE_KEEP_MONTHS_MAX,
     .help = "of the audit log, 1 to 1200; default: all"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, dry_run),
     .help = "only print what would be dropped"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, json),
     .help = "print an object of what was dropped"},
    {0},
};

static void print_partition(void *context, const struct partition_values *partition)
{
    const struct values *values = context;
    bool counted = partition->rows != NULL;

    if (!values->json)
        printf("%s %s: %s%s rows, %s bytes\n", values->dry_run ? "would drop" : "dropped",
               partition->name, counted ? "about " : "", counted ? partition->rows : "uncounted",
               partition->bytes);
}

static json_t *number(const char *text)
{
    return text != NULL ? json_integer(strtoll(text, NULL, 10)) : json_null();
}

static json_t *ledger_json(const struct ledger_prune *prune)
{
    json_t *partitions = json_array();

    for (size_t row = 0; row != ledger_store_partition_count(prune); ++row) {
        struct partition_values partition = ledger_store_partition(prune, row);

        json_array_append_new(partitions,
                              json_pack("{s:s, s:o, s:o}", "name", partition.name, "rows_estimate",
                                        number(partition.rows), "bytes", number(partition.bytes)));
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "keeps_from", ledger_store_cutoff(prune), "partitions",
                     partitions, "rows_left_in_default", number(ledger_store_left(prune)),
                     "batches_forgotten", number(ledger_store_batches(prune)));
}

static void print_rest(const struct ledger_prune *prune)
{
    const char *cutoff = ledger_store_cutoff(prune);

    if (ledger_store_partition_count(prune) == 0)
        printf("no month is from before %s\n", cutoff);
    if (strcmp(ledger_store_left(prune), "0") != 0)
        printf("issued_tokens_default has %s rows from before %s, which stay\n",
               ledger_store_left(prune), cutoff);
    printf("%s %s batches of over 30 days ago\n", prune->is_dry_run ? "would forget" : "forgot",
           ledger_store_batches(prune));
}

static bool prune_ledger(PGconn *connection, struct values *values, json_t *told,
                         struct store_failure *failure)
{
    struct ledger_prune prune = {.is_dry_run = values->dry_run,
                                 .keep_months = values->keep_months.value};
    bool done = ledger_store_prune(connection, &prune, print_partition, values, failure);

    if (done && values->json)
        json_object_update_new(told, ledger_json(&prune));
    else if (done)
        print_rest(&prune);
    ledger_store_prune_end(&prune);
    return done;
}

static bool prune_audit(PGconn *connection, const struct values *values, json_t *told,
                        struct store_failure *failure)
{
    long long rows;

    if (!audit_store_prune(connection, values->keep_audit_months.value, values->dry_run, &rows,
                           failure))
        return false;
    if (values->json)
        json_object_set_new(told, "audit_rows_removed", json_integer(rows));
    else
        printf("%s %lld rows of the audit log\n", values->dry_run ? "would remove" : "removed",
               rows);
    return true;
}

static int run(const struct cli_command *command, const void *given)
{
    struct values values = *(const struct values *)given;
    struct store_failure failure;
    PGconn *connection;
    json_t *told;
    bool done;

    if (!values.keep_months.is_given && !values.keep_audit_months.is_given)
        return cli_usage(command, "--keep-months N is needed, or --keep-audit-months N");
    told = json_pack("{s:b}", "dry_run", values.dry_run);
    connection = database_connect(&failure);
    done = connection != NULL &&
           (!values.keep_months.is_given || prune_ledger(connection, &values, told, &failure)) &&
           (!values.keep_audit_months.is_given || prune_audit(connection, &values, told, &failure));
    PQfinish(connection);
    if (done && values.json)
        done = print_json(json_incref(told), &failure.why);
    json_decref(told);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

const struct cli_command command_ledger_prune = {
    .path = "jotd ledger prune",
    .summary = "drop old months",
    .help = "Keeps this month (UTC) and the N months before it. With --keep-months it drops older\n"
            "monthly partitions of issued_tokens, and forgets batches older than 30 days, as "
            "servers\n"
            "do every day; with --keep-audit-months it removes older rows of the audit log, some\n"
            "thousands at a time.",
    .options = options,
    .notes = "Rows are estimates, as of the last ANALYZE.\n\n"
             "Example: jotd ledger prune --keep-months 12 --dry-run",
    .values_size = sizeof(struct values),
    .run = run,
};
