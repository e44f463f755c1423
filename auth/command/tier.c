/* `jotd tier`: list, set, delete. `usage` is in tier_usage.c. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/client.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/tier_store.h"
#include "common/attributes.h"
#include "common/integer.h"

#define UNLIMITED "unlimited"

static json_t *tier_json(const struct tier_values *tier)
{
    json_t *object = tier_store_document(tier);

    json_object_del(object, "version");
    return object;
}

/* list */

struct list_values {
    bool json;
};

static const struct cli_option list_options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct list_values, json),
     .help = "print a JSON array"},
    {0},
};

static json_t *row_json(const void *tiers, size_t row)
{
    struct tier_values tier = tier_store_values(tiers, row);

    return tier_json(&tier);
}

static bool print_tiers(const PGresult *tiers, struct failure *failure)
{
    static const char *const names[] = {"name", "per_minute", "per_hour", "per_month", "token_ttl"};
    size_t columns = COUNT_OF(names), rows = (size_t)PQntuples(tiers);
    const char **cells = calloc(columns * rows + 1, sizeof(*cells));

    if (cells == NULL)
        return failure_set(failure, "out of memory");
    for (size_t row = 0; row != rows; ++row) {
        struct tier_values tier = tier_store_values(tiers, row);

        cells[row * columns] = tier.name;
        memcpy(cells + row * columns + 1, tier.limits, sizeof(tier.limits));
        cells[row * columns + 1 + QUOTA_WINDOWS] = tier.token_ttl;
    }
    print_table(names, columns, cells, rows);
    free(cells);
    return true;
}

static int run_list(const struct cli_command *command, const void *given)
{
    const struct list_values *values = given;
    struct store_failure failure;
    PGconn *connection = database_connect(&failure);
    PGresult *tiers = connection != NULL ? tier_store_list(connection, &failure) : NULL;
    bool done = tiers != NULL;

    if (done && values->json)
        done = print_json_rows((size_t)PQntuples(tiers), row_json, tiers, &failure.why);
    else if (done)
        done = print_tiers(tiers, &failure.why);
    PQclear(tiers);
    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

static const struct cli_command command_list = {
    .path = "jotd tier list",
    .summary = "list the tiers",
    .help = "Lists the tiers: tokens per minute, hour and calendar month (UTC) for each client.\n"
            "A dash, or null, is unlimited. token_ttl is how many seconds the tokens of its\n"
            "clients live; a dash, or null, leaves it to the server (JOTD_TOKEN_TTL). A client's\n"
            "own token_ttl comes first.",
    .options = list_options,
    .values_size = sizeof(struct list_values),
    .run = run_list,
};

/* set */

struct set_values {
    const char *name;
    const char *limits[QUOTA_WINDOWS]; /* numbers, or UNLIMITED; NULL: unchanged */
    struct cli_number token_ttl;
    bool json;
};

static const struct cli_option set_options[] = {
    {.name = "per-minute",
     .kind = CLI_TEXT,
     .offset = offsetof(struct set_values, limits[QUOTA_MINUTE]),
     .value = "N",
     .help = "tokens in any 60 seconds, or the word unlimited"},
    {.name = "per-hour",
     .kind = CLI_TEXT,
     .offset = offsetof(struct set_values, limits[QUOTA_HOUR]),
     .value = "N",
     .help = "tokens in any 60 minutes"},
    {.name = "per-month",
     .kind = CLI_TEXT,
     .offset = offsetof(struct set_values, limits[QUOTA_MONTH]),
     .value = "N",
     .help = "tokens in a calendar month (UTC)"},
    {.name = "token-ttl",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct set_values, token_ttl),
     .value = "SECONDS",
     .max = CLIENT_MAX_TTL_S,
     .help = "lifetime of the tokens of its clients, except those that have one\n"
             "of their own; up to 86400; 0: as the server says"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct set_values, json),
     .help = "print the tier as a JSON object"},
    {0},
};

static bool read_limit(const char *text, long long *limit)
{
    if (text == NULL)
        *limit = TIER_STORE_UNCHANGED;
    else if (strcmp(text, UNLIMITED) == 0)
        *limit = TIER_STORE_UNLIMITED;
    else
        return integer_parse(text, 1, TIER_STORE_LIMIT_MAX, limit);
    return true;
}

static const char *shown(const char *limit)
{
    return limit != NULL ? limit : UNLIMITED;
}

static void print_value(const struct tier_change_values *change, const char *before,
                        const char *now)
{
    bool changed = change->existed && strcmp(before, now) != 0;

    printf("%s%s%s", changed ? before : "", changed ? " -> " : "", now);
}

/* The lifetime only if it has or had one. */
static void print_change(const struct tier_change_values *change)
{
    const char *now = change->now.token_ttl, *before = change->before.token_ttl;

    printf("%s%s:", change->now.name, change->existed ? "" : " (new)");
    for (int w = 0; w != QUOTA_WINDOWS; ++w) {
        printf("%s per %s ", w != 0 ? "," : "", quota_window_name((enum quota_window)w));
        print_value(change, shown(change->before.limits[w]), shown(change->now.limits[w]));
    }
    if (now != NULL || before != NULL) {
        fputs(", token_ttl ", stdout);
        print_value(change, before != NULL ? before : "none", now != NULL ? now : "none");
    }
    putchar('\n');
}

static int set(const struct cli_command *command, const struct set_values *values,
               const struct tier_settings *settings)
{
    struct store_failure failure;
    struct tier_change_values change;
    PGconn *connection = database_connect(&failure);
    PGresult *changed =
        connection != NULL ? tier_store_set(connection, values->name, settings, &failure) : NULL;
    bool done = changed != NULL;

    if (done)
        change = tier_store_change(changed);
    if (done && values->json)
        done = print_json(tier_json(&change.now), &failure.why);
    else if (done)
        print_change(&change);
    PQclear(changed);
    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

static int run_set(const struct cli_command *command, const void *given)
{
    const struct set_values *values = given;
    bool any = values->token_ttl.is_given;
    struct tier_settings settings = {.token_ttl_s =
                                         any ? values->token_ttl.value : TIER_STORE_UNCHANGED};
    struct store_failure failure;

    if (!tier_store_check_name(values->name, &failure))
        return database_fail(command, &failure, NULL);
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        any = any || values->limits[w] != NULL;
        if (!read_limit(values->limits[w], &settings.limits[w]))
            return cli_usage(command, "a figure is a whole number from 1 to 10^12, or the word "
                                      "unlimited");
    }
    if (!any)
        return cli_usage(command, "what is to be set? give --per-minute, --per-hour, --per-month "
                                  "or --token-ttl; the others stay as they are");
    return set(command, values, &settings);
}

static const struct cli_command command_set = {
    .path = "jotd tier set",
    .summary = "make a tier, or change its limits and its token lifetime",
    .help = "Makes the tier, or changes what is given; the rest stays as it is, or unlimited in a\n"
            "new tier. Takes effect at once, everywhere. Prints the values before and after.",
    .options = set_options,
    .notes = "Example: jotd tier set partner --per-minute 1000 --per-month 1000000",
    .arguments = {{"NAME", offsetof(struct set_values, name), "the NAME of a tier is missing"}},
    .values_size = sizeof(struct set_values),
    .run = run_set,
};

/* delete */

struct delete_values {
    const char *name;
    bool json;
};

static const struct cli_option delete_options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct delete_values, json),
     .help = "print a JSON object"},
    {0},
};

static bool delete_tier(const struct delete_values *values, struct store_failure *failure)
{
    PGconn *connection = database_connect(failure);
    bool deleted = connection != NULL && tier_store_delete(connection, NULL, values->name, failure);

    PQfinish(connection);
    return deleted;
}

static int run_delete(const struct cli_command *command, const void *given)
{
    const struct delete_values *values = given;
    struct store_failure failure;

    if (!tier_store_check_name(values->name, &failure) || !delete_tier(values, &failure))
        return database_fail(command, &failure,
                             failure.kind == STORE_CONFLICT
                                 ? "give them another by `jotd client update ID --tier T` or `jotd "
                                   "organization update ID --tier T` first"
                                 : "`jotd tier list` shows them");
    if (!values->json)
        printf("deleted tier %s\n", values->name);
    else if (!print_json(json_pack("{s:s}", "deleted", values->name), &failure.why))
        return cli_fail(&failure.why);
    return CLI_DONE;
}

static const struct cli_command command_delete = {
    .path = "jotd tier delete",
    .summary = "delete a tier that nobody uses",
    .help = "Deletes a tier; refused while clients or organizations use it.",
    .options = delete_options,
    .arguments = {{"NAME", offsetof(struct delete_values, name), "the NAME of a tier is missing"}},
    .values_size = sizeof(struct delete_values),
    .run = run_delete,
};

const struct cli_command command_tier = {
    .path = "jotd tier",
    .summary = "list, set, delete tiers; show what a client has used",
    .commands = (const struct cli_command *const[]){&command_list, &command_set,
                                                    &command_tier_usage, &command_delete, NULL},
};
