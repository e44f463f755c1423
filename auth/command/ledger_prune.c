/* `jotd ledger prune`: drops old months of issued_tokens. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/ledger_store.h"

struct values {
    struct cli_number keep_months;
    bool dry_run, json;
};

static const struct cli_option options[] = {
    {.name = "keep-months",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct values, keep_months),
     .value = "N",
     .min = 1,
     .max = LEDGER_STORE_KEEP_MONTHS_MAX,
     .is_needed = true,
     .help = "1 to 1200"},
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

static bool print_pruned_json(const struct ledger_prune *prune, struct failure *failure)
{
    json_t *partitions = json_array();

    for (size_t row = 0; row != ledger_store_partition_count(prune); ++row) {
        struct partition_values partition = ledger_store_partition(prune, row);

        json_array_append_new(partitions,
                              json_pack("{s:s, s:o, s:o}", "name", partition.name, "rows_estimate",
                                        number(partition.rows), "bytes", number(partition.bytes)));
    }
    return print_json(json_pack("{s:b, s:s, s:o, s:o, s:o}", "dry_run", prune->is_dry_run,
                                "keeps_from", ledger_store_cutoff(prune), "partitions", partitions,
                                "rows_left_in_default", number(ledger_store_left(prune)),
                                "batches_forgotten", number(ledger_store_batches(prune))),
                      failure);
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

static int run(const struct cli_command *command, const void *given)
{
    struct values values = *(const struct values *)given;
    struct ledger_prune prune = {.is_dry_run = values.dry_run,
                                 .keep_months = values.keep_months.value};
    struct store_failure failure;
    PGconn *connection = database_connect(&failure);
    bool done = connection != NULL &&
                ledger_store_prune(connection, &prune, print_partition, &values, &failure);

    if (done && values.json)
        done = print_pruned_json(&prune, &failure.why);
    else if (done)
        print_rest(&prune);
    ledger_store_prune_end(&prune);
    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

const struct cli_command command_ledger_prune = {
    .path = "jotd ledger prune",
    .summary = "drop old months",
    .help = "Keeps this month (UTC) and the N months before it, and drops older monthly "
            "partitions\n"
            "of issued_tokens. Also forgets batches older than 30 days, as servers do every day.",
    .options = options,
    .notes = "Rows are estimates, as of the last ANALYZE.\n\n"
             "Example: jotd ledger prune --keep-months 12 --dry-run",
    .values_size = sizeof(struct values),
    .run = run,
};
