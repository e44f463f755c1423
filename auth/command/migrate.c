/* `jotd migrate`: brings the database to the schema that this program knows.
 *
 * Each migration is one transaction together with its row in schema_migrations. An advisory lock of
 * the session is held over all of them, so of two that run at once the second waits, and then finds
 * nothing to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/command.h"
#include "auth/migrations.h"
#include "auth/settings.h"
#include "common/clock.h"

enum { OPTION_STATUS = ADMIN_FIRST_OPTION, OPTION_JSON };

static const struct option options[] = {
    {"status", no_argument, NULL, OPTION_STATUS},
    {"json", no_argument, NULL, OPTION_JSON},
    ADMIN_HELP_OPTION,
    {0},
};

/* Databases of before works_since get the column with whatever they lack. */
#define TABLE_SQL                                                                                  \
    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY,"                   \
    " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"                         \
    "ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS works_since integer"

/* Other programs keep their migrations under this name too; nothing of theirs is to be changed.
 * Where it would be made decides, not what is found behind that in the search path. */
#define FOREIGN_SQL                                                                                \
    "SELECT count(*) <> 3 FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid"          \
    " AND (attname, atttypid::regtype::text) IN (('version', 'integer'), ('name', 'text'),"        \
    " ('applied_at', 'timestamp with time zone'))"                                                 \
    " WHERE c.oid = to_regclass(format('%I.schema_migrations', current_schema())) GROUP BY c.oid"

static bool check_table(PGconn *connection, struct failure *failure)
{
    PGresult *result = admin_query(connection, FOREIGN_SQL, 0, NULL, failure);
    bool checked = result != NULL,
         foreign = PQntuples(result) != 0 && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (foreign)
        failure_set(failure, "schema_migrations in this database is another program's: give jotd a "
                             "database of its own, or a schema (options=-csearch_path%%3Djotd in "
                             "DATABASE_URL)");
    return checked && !foreign;
}

/* The newest version in the database, 0 when it has none; -1 on failure, as when this program is
 * too old for it. */
static int database_version(PGconn *connection, struct failure *failure)
{
    PGresult *result = admin_query(connection, MIGRATIONS_VERSION_SQL, 0, NULL, failure);
    int version = result == NULL ? -1 : atoi(PQgetvalue(result, 0, 0));

    if (version > migrations[migration_count - 1].version &&
        !migrations_check_version(result, failure))
        version = -1;
    PQclear(result);
    return version;
}

/* An advisory lock can be taken by whoever may connect, a server that was broken into, too. */
static void tell_who_holds_the_lock(PGconn *connection)
{
    struct failure failure;
    PGresult *result = admin_query(
        connection,
        "SELECT l.pid, coalesce(a.usename, '?') FROM pg_locks l LEFT JOIN pg_stat_activity a USING "
        "(pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (l.classid::bigint << 32) + l.objid::bigint = " MIGRATIONS_LOCK_KEY,
        0, NULL, &failure);

    if (result != NULL && PQntuples(result) == 1)
        fprintf(
            stderr,
            "jotd: another `jotd migrate` is at work, as %s in PostgreSQL's process %s; waiting "
            "for it\n",
            PQgetvalue(result, 0, 1), PQgetvalue(result, 0, 0));
    else
        fputs("jotd: another `jotd migrate` is at work; waiting for it\n", stderr);
    PQclear(result);
}

static bool lock(PGconn *connection, struct failure *failure)
{
    PGresult *result =
        admin_query(connection, "SELECT pg_try_advisory_lock(" MIGRATIONS_LOCK_KEY ")", 0, NULL,
                    failure);
    bool locked = result != NULL && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (locked || result == NULL)
        return locked;
    tell_who_holds_the_lock(connection);
    return admin_execute(connection, "SELECT pg_advisory_lock(" MIGRATIONS_LOCK_KEY ")", failure);
}

static bool record(PGconn *connection, const struct migration *migration, struct failure *failure)
{
    char version[16], works_since[16];
    const char *const values[] = {version, migration->name, works_since};
    PGresult *result;

    snprintf(version, sizeof(version), "%d", migration->version);
    snprintf(works_since, sizeof(works_since), "%d", migration->works_since);
    result = admin_query(connection,
                         "INSERT INTO schema_migrations (version, name, works_since)"
                         " VALUES ($1::int, $2, $3::int)",
                         3, values, failure);
    PQclear(result);
    return result != NULL;
}

/* Without COMMIT the end of the connection undoes it all. */
static bool apply(PGconn *connection, const struct migration *migration, struct failure *failure)
{
    struct failure cause;

    if (admin_execute(connection, "BEGIN", &cause) &&
        admin_execute(connection, migration->sql, &cause) &&
        record(connection, migration, &cause) && admin_execute(connection, "COMMIT", &cause))
        return true;
    return failure_set(failure, "migration %s was not applied: %.400s", migration->name,
                       cause.reason);
}

static bool apply_pending(PGconn *connection, int version, json_t *applied, bool json,
                          struct failure *failure)
{
    for (size_t i = 0; i != migration_count; ++i) {
        uint64_t start_ms = clock_monotonic_ms();
        long long took_ms;

        if (migrations[i].version <= version)
            continue;
        if (!apply(connection, &migrations[i], failure))
            return false;
        took_ms = (long long)(clock_monotonic_ms() - start_ms);
        json_array_append_new(applied,
                              json_pack("{s:i, s:s, s:I}", "version", migrations[i].version, "name",
                                        migrations[i].name, "ms", (json_int_t)took_ms));
        if (!json)
            printf("applied %s in %lld ms\n", migrations[i].name, took_ms);
    }
    return true;
}

static bool migrate(PGconn *connection, bool json, struct failure *failure)
{
    int version;
    json_t *applied = json_array();

    if (!lock(connection, failure) || !check_table(connection, failure) ||
        !admin_execute(connection, TABLE_SQL, failure) ||
        (version = database_version(connection, failure)) < 0 ||
        !apply_pending(connection, version, applied, json, failure) ||
        !admin_execute(connection, "SELECT make_issued_tokens_partitions(), grant_to_roles()",
                       failure))
        goto fail;
    if (json)
        return admin_print_json(applied, failure);
    if (json_array_size(applied) == 0)
        printf("up to date: version %d\n", version);
    json_decref(applied);
    return true;

fail:
    json_decref(applied);
    return false;
}

/* Rows (version, name, applied at, works since), none where schema_migrations does not exist; it
 * may not have got the last column yet. */
static PGresult *applied_rows(PGconn *connection, struct failure *failure)
{
    PGresult *result =
        admin_query(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL", 0, NULL,
                    failure);
    bool exists = result != NULL && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (result == NULL)
        return NULL;
    return admin_query(connection,
                       exists ? "SELECT version, name, " ADMIN_TIME(
                                    "applied_at") ", coalesce(to_jsonb(m) ->> 'works_since',"
                                                  "  version::text)"
                                                  " FROM schema_migrations m ORDER BY version"
                              : "SELECT 0, '', '', 0 LIMIT 0",
                       0, NULL, failure);
}

static void add_status(json_t *list, int version, int works_since, const char *name,
                       const char *applied_at)
{
    json_array_append_new(list,
                          json_pack("{s:i, s:i, s:s, s:s?}", "version", version, "works_since",
                                    works_since, "name", name, "applied_at", applied_at));
}

/* What the database has, also what this program does not know, then what it lacks. */
static json_t *status_list(const PGresult *rows)
{
    json_t *list = json_array();
    int newest = 0;

    for (int row = 0; row != PQntuples(rows); ++row) {
        newest = atoi(PQgetvalue(rows, row, 0));
        add_status(list, newest, atoi(PQgetvalue(rows, row, 3)), PQgetvalue(rows, row, 1),
                   PQgetvalue(rows, row, 2));
    }
    for (size_t i = 0; i != migration_count; ++i) {
        if (migrations[i].version > newest)
            add_status(list, migrations[i].version, migrations[i].works_since, migrations[i].name,
                       NULL);
    }
    return list;
}

static bool print_status(PGconn *connection, bool json, struct failure *failure)
{
    PGresult *rows = check_table(connection, failure) ? applied_rows(connection, failure) : NULL;
    json_t *list, *entry;
    size_t index;

    if (rows == NULL)
        return false;
    list = status_list(rows);
    PQclear(rows);
    if (json)
        return admin_print_json(list, failure);
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

static bool connect_and_run(bool status, bool json, struct failure *failure)
{
    struct settings settings;
    PGconn *connection = NULL;
    bool done = false;

    if (settings_load(&settings, SETTINGS_NEED_DATABASE, failure) &&
        (connection = cli_connect(&settings, false, failure)) != NULL &&
        admin_execute(connection,
                      "SET client_min_messages = warning; SET statement_timeout = 0;"
                      " SET lock_timeout = 0",
                      failure))
        done =
            status ? print_status(connection, json, failure) : migrate(connection, json, failure);
    PQfinish(connection);
    settings_dispose(&settings);
    return done;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    bool status = false, json = false;
    struct failure failure;
    int option;

    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        switch (option) {
        case OPTION_STATUS:
            status = true;
            break;
        case OPTION_JSON:
            json = true;
            break;
        default:
            return admin_other_option(command, option, argv);
        }
    }
    if (optind != argc)
        return cli_usage(command, "unexpected argument: %s", argv[optind]);
    return connect_and_run(status, json, &failure) ? CLI_DONE : cli_fail(&failure);
}

int admin_migrate(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "migrate",
        .summary = "bring the database to the schema of this jotd",
        .help = "Usage: jotd migrate [--status] [--json]\n"
                "\n"
                "Brings the database at DATABASE_URL to the schema that this jotd knows. Running\n"
                "it twice, or twice at once, is safe.\n"
                "\n"
                "  --status   only list the migrations, when they were applied, and as\n"
                "             works_since which version a jotd must know to go on with it\n"
                "  --json     print a JSON array of what was applied, or of the status\n",
        .run = run,
    };

    return command.run(&command, argc, argv);
}
