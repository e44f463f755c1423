/* `jotd migrate`: brings the database to the schema that this program knows. */
#include <jansson.h>
#include <stdio.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/settings.h"
#include "auth/store/schema_store.h"

struct values {
    bool status, json;
};

static const struct cli_option options[] = {
    {.name = "status",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, status),
     .help = "only list the migrations: when each was applied, and works_since, the\n"
             "oldest schema version whose jotd works with it"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, json),
     .help = "print a JSON array of what was applied, or of the status"},
    {0},
};

static void tell_who_is_at_work(const struct schema_lock_holder *holder)
{
    if (holder != NULL)
        fprintf(
            stderr,
            "jotd: another `jotd migrate`, or a server that makes partitions, is at work, as %s "
            "in PostgreSQL's process %d; waiting for it\n",
            holder->user, holder->pid);
    else
        fputs("jotd: another `jotd migrate`, or a server that makes partitions, is at work; "
              "waiting for it\n",
              stderr);
}

struct applied {
    bool json;
    json_t *list;
};

static void note_applied(void *context, const struct migration *migration, uint64_t ms)
{
    struct applied *applied = context;

    json_array_append_new(applied->list, json_pack("{s:i, s:s, s:I}", "version", migration->version,
                                                   "name", migration->name, "ms", (json_int_t)ms));
    if (!applied->json)
        printf("applied %s in %llu ms\n", migration->name, (unsigned long long)ms);
}

static bool migrate(PGconn *connection, bool json, struct store_failure *failure)
{
    struct applied applied = {.json = json, .list = json_array()};
    int version;
    bool done = schema_store_migrate(connection, tell_who_is_at_work, note_applied, &applied,
                                     &version, failure);

    if (done && json)
        return print_json(applied.list, &failure->why);
    if (done && json_array_size(applied.list) == 0)
        printf("up to date: version %d\n", version);
    json_decref(applied.list);
    return done;
}

static void add_status(json_t *list, int version, int works_since, const char *name,
                       const char *applied_at)
{
    json_array_append_new(list,
                          json_pack("{s:i, s:i, s:s, s:s?}", "version", version, "works_since",
                                    works_since, "name", name, "applied_at", applied_at));
}

/* What the database has, including what this program does not know, then what it lacks. */
static json_t *status_list(const PGresult *rows)
{
    json_t *list = json_array();
    int newest = 0;

    for (int row = 0; row != PQntuples(rows); ++row) {
        struct applied_values applied = schema_store_values(rows, (size_t)row);

        newest = applied.version;
        add_status(list, applied.version, applied.works_since, applied.name, applied.applied_at);
    }
    for (size_t i = 0; i != migration_count; ++i) {
        if (migrations[i].version > newest)
            add_status(list, migrations[i].version, migrations[i].works_since, migrations[i].name,
                       NULL);
    }
    return list;
}

static bool print_status(PGconn *connection, bool json, struct store_failure *failure)
{
    PGresult *rows = schema_store_applied(connection, failure);
    json_t *list, *entry;
    size_t index;

    if (rows == NULL)
        return false;
    list = status_list(rows);
    PQclear(rows);
    if (json)
        return print_json(list, &failure->why);
    printf("%-9s%-32s%-22s%s\n", "version", "name", "applied_at", "works_since");
    json_array_foreach(list, index, entry)
    {
        const char *applied_at = json_string_value(json_object_get(entry, "applied_at"));

        printf("%-9lld%-32s%-22s%lld\n", json_integer_value(json_object_get(entry, "version")),
               json_string_value(json_object_get(entry, "name")),
               applied_at != NULL ? applied_at : "pending",
               json_integer_value(json_object_get(entry, "works_since")));
    }
    json_decref(list);
    return true;
}

static int run(const struct cli_command *command, const void *given)
{
    const struct values *values = given;
    struct store_failure failure = {.kind = STORE_UNAVAILABLE, .pointer = ""};
    struct settings settings;
    PGconn *connection = NULL;
    bool done = false;

    if (settings_load(&settings, SETTINGS_NEED_DATABASE, &failure.why) &&
        (connection = store_connect(settings.database_url, DATABASE_APPLICATION, false,
                                    &failure.why)) != NULL)
        done = values->status ? print_status(connection, values->json, &failure)
                              : migrate(connection, values->json, &failure);
    PQfinish(connection);
    settings_dispose(&settings);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

const struct cli_command command_migrate = {
    .path = "jotd migrate",
    .summary = "bring the database's schema up to date",
    .help = "Brings the database at DATABASE_URL to the schema of this version. Running it "
            "twice,\n"
            "or twice at once, is safe.",
    .options = options,
    .values_size = sizeof(struct values),
    .run = run,
};
