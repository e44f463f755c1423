/* `jotd audit`. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/audit_store.h"
#include "common/attributes.h"

#define LIST_LIMIT 100
#define DAY_LENGTH 10 /* 2026-11-21 */
#define MIDNIGHT   "T00:00:00Z"
#define TIME_SIZE  (DAY_LENGTH + sizeof(MIDNIGHT))

/* list */

struct list_values {
    struct audit_filter filter;
    struct cli_number limit;
    bool json;
};

static const struct cli_option list_options[] = {
    {.name = "object",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.object),
     .value = "WORD",
     .help = "only changes of client, secret, tier or organization"},
    {.name = "id",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.object_id),
     .value = "ID",
     .help = "only changes of what has this id or name; a secret's is\n"
             "CLIENT_ID/SECRET_ID"},
    {.name = "action",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.action),
     .value = "WORD",
     .help = "only create, update, delete or truncate"},
    {.name = "actor",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.actor),
     .value = "ACTOR",
     .help = "only changes by this actor, such as command:root"},
    {.name = "role",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.session_user),
     .value = "ROLE",
     .help = "only changes in sessions of this role of PostgreSQL"},
    {.name = "since",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.since),
     .value = "TIME",
     .help = "only from then on: 2026-11-21 (UTC) or\n2026-11-21T07:12:16Z"},
    {.name = "until",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.until),
     .value = "TIME",
     .help = "only before then"},
    {.name = "after",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, filter.after),
     .value = "AUDIT_ID",
     .help = "only older ones than this row of an earlier list"},
    {.name = "limit",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct list_values, limit),
     .value = "N",
     .max = AUDIT_STORE_LIMIT_MAX,
     .help = "how many at most, 0 for all; default: 100"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct list_values, json),
     .help = "print a JSON array"},
    {0},
};

static json_t *row_json(const void *rows, size_t row)
{
    struct audit_values values = audit_store_values(rows, row);

    return audit_store_document(&values);
}

/* Text that a client of the database may have chosen must not reach the terminal as it is. */
static void print_plain(const char *text)
{
    for (; *text != '\0'; ++text)
        putchar(*text >= ' ' && *text <= '~' ? *text : '?');
}

static void print_value(json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT);

    fputs(value == NULL ? "none" : text != NULL ? text : "?", stdout);
    free(text);
}

/* Columns that follow every change. */
static bool is_noise(const char *column)
{
    return strcmp(column, "version") == 0 || strcmp(column, "updated_at") == 0;
}

static void print_columns(json_t *before, json_t *after)
{
    const char *separator = ": ", *column;
    json_t *value;

    json_object_foreach(after, column, value)
    {
        json_t *old = json_object_get(before, column);

        if (is_noise(column) || json_equal(old, value))
            continue;
        printf("%s%s ", separator, column);
        print_value(old);
        fputs(" -> ", stdout);
        print_value(value);
        separator = ", ";
    }
    if (*separator == ':')
        fputs(": its digest", stdout); /* which no row shows */
}

/* One line: time, who, what. */
static void print_row(const struct audit_values *row)
{
    json_t *document = audit_store_document(row);

    printf("%s ", row->at);
    if (*row->actor != '\0') {
        print_plain(row->actor);
        fputs(" as ", stdout);
    }
    print_plain(row->session_user);
    printf(" %s %s ", row->action, row->object);
    print_plain(row->object_id);
    if (strcmp(row->action, "update") == 0)
        print_columns(json_object_get(document, "before"), json_object_get(document, "after"));
    putchar('\n');
    json_decref(document);
}

/* A day stands for its first moment. */
static void complete_time(const char **time, char text[TIME_SIZE])
{
    if (*time == NULL || strlen(*time) != DAY_LENGTH)
        return;
    snprintf(text, TIME_SIZE, "%s" MIDNIGHT, *time);
    *time = text;
}

static bool list(const struct audit_filter *filter, bool json, struct store_failure *failure)
{
    PGconn *connection = NULL;
    PGresult *rows = NULL;
    bool done = audit_store_check(filter, failure) &&
                (connection = database_connect(failure)) != NULL &&
                (rows = audit_store_list(connection, filter, failure)) != NULL;

    if (done && json)
        done = print_json_rows((size_t)PQntuples(rows), row_json, rows, &failure->why);
    for (size_t row = 0; done && !json && row != (size_t)PQntuples(rows); ++row) {
        struct audit_values values = audit_store_values(rows, row);

        print_row(&values);
    }
    PQclear(rows);
    PQfinish(connection);
    return done;
}

static int run_list(const struct cli_command *command, const void *given)
{
    const struct list_values *values = given;
    struct audit_filter filter = values->filter;
    char since[TIME_SIZE], until[TIME_SIZE];
    struct store_failure failure;

    filter.limit = values->limit.is_given ? values->limit.value : LIST_LIMIT;
    complete_time(&filter.since, since);
    complete_time(&filter.until, until);
    return list(&filter, values->json, &failure) ? CLI_DONE
                                                 : database_fail(command, &failure, NULL);
}

static const struct cli_command command_list = {
    .path = "jotd audit list",
    .summary = "list who changed what, newest first",
    .help =
        "Lists the changes of clients, secrets, tiers and organizations by whatever means: who\n"
        "made them, and from what to what. --json has the whole row before and after, without\n"
        "digests. Revoked tokens have their own record: `jotd token show`.",
    .options = list_options,
    .notes =
        "Who is the actor that jotd told PostgreSQL, command:USER for its commands, as the\n"
        "role of PostgreSQL that was logged in. The actor is missing for other programs, such\n"
        "as psql, and for commands run as jotd_owner.\n\n"
        "Example: jotd audit list --object client --id billing --since 2026-11-01",
    .values_size = sizeof(struct list_values),
    .run = run_list,
};

const struct cli_command command_audit = {
    .path = "jotd audit",
    .summary = "list who changed what",
    .commands = (const struct cli_command *const[]){&command_list, NULL},
};
