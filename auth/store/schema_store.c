/* Each migration is one transaction together with its row in schema_migrations. An advisory lock of
 * the session is held across all of them, so of two simultaneous runs the second waits and then
 * finds nothing to do.
 */
#include "auth/store/schema_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/migrations.h"
#include "common/clock.h"

/* Adds works_since to tables that predate it. */
#define TABLE_SQL                                                                                  \
    "CREATE TABLE IF NOT EXISTS schema_migrations (version integer PRIMARY KEY,"                   \
    " name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());"                         \
    "ALTER TABLE schema_migrations ADD COLUMN IF NOT EXISTS works_since integer"

/* Other programs use this table name too, and their table must not be changed. Only the schema in
 * which ours would be created counts, not what follows it in the search path. */
#define FOREIGN_SQL                                                                                \
    "SELECT count(*) <> 3 FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid"          \
    " AND (attname, atttypid::regtype::text) IN (('version', 'integer'), ('name', 'text'),"        \
    " ('applied_at', 'timestamp with time zone'))"                                                 \
    " WHERE c.oid = to_regclass(format('%I.schema_migrations', current_schema())) GROUP BY c.oid"

static bool check_table(PGconn *connection, struct store_failure *failure)
{
    PGresult *result = store_query(connection, FOREIGN_SQL, 0, NULL, failure);
    bool checked = result != NULL,
         foreign = PQntuples(result) != 0 && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (foreign)
        store_fail(failure, STORE_CONFLICT, "",
                   "schema_migrations in this database is another program's: give jotd a "
                   "database of its own, or a schema (options=-csearch_path%%3Djotd in "
                   "DATABASE_URL)");
    return checked && !foreign;
}

/* The newest version in the database, 0 if it has none; -1 on failure, including a schema that is
 * too new for this program. */
static int database_version(PGconn *connection, struct store_failure *failure)
{
    PGresult *result = store_query(connection, MIGRATIONS_VERSION_SQL, 0, NULL, failure);
    int version = result == NULL ? -1 : atoi(PQgetvalue(result, 0, 0));

    if (version > migrations[migration_count - 1].version &&
        !migrations_check_version(result, &failure->why)) {
        failure->kind = STORE_CONFLICT;
        version = -1;
    }
    PQclear(result);
    return version;
}

/* Finds the holder of the lock: anybody who can connect may take it, even a compromised server.
 * False if unknown. */
static bool find_holder(PGconn *connection, struct schema_lock_holder *holder)
{
    struct store_failure failure;
    PGresult *result = store_query(
        connection,
        "SELECT l.pid, coalesce(a.usename, '?') FROM pg_locks l"
        " LEFT JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND (l.classid::bigint << 32) + l.objid::bigint = " MIGRATIONS_LOCK_KEY,
        0, NULL, &failure);
    bool found = result != NULL && PQntuples(result) == 1;

    if (found) {
        holder->pid = atoi(PQgetvalue(result, 0, 0));
        snprintf(holder->user, sizeof(holder->user), "%s", PQgetvalue(result, 0, 1));
    }
    PQclear(result);
    return found;
}

static bool lock(PGconn *connection, void (*on_wait)(const struct schema_lock_holder *),
                 struct store_failure *failure)
{
    struct schema_lock_holder holder;
    PGresult *result =
        store_query(connection, "SELECT pg_try_advisory_lock(" MIGRATIONS_LOCK_KEY ")", 0, NULL,
                    failure);
    bool locked = result != NULL && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (locked || result == NULL)
        return locked;
    on_wait(find_holder(connection, &holder) ? &holder : NULL);
    return store_execute(connection, "SELECT pg_advisory_lock(" MIGRATIONS_LOCK_KEY ")", failure);
}

static bool record(PGconn *connection, const struct migration *migration,
                   struct store_failure *failure)
{
    char version[16], works_since[16];
    const char *const values[] = {version, migration->name, works_since};
    PGresult *result;

    snprintf(version, sizeof(version), "%d", migration->version);
    snprintf(works_since, sizeof(works_since), "%d", migration->works_since);
    result = store_query(connection,
                         "INSERT INTO schema_migrations (version, name, works_since)"
                         " VALUES ($1::int, $2, $3::int)",
                         3, values, failure);
    PQclear(result);
    return result != NULL;
}

/* Without COMMIT, closing the connection undoes it all. */
static bool apply(PGconn *connection, const struct migration *migration,
                  struct store_failure *failure)
{
    struct store_failure cause;

    if (store_execute(connection, "BEGIN", &cause) &&
        store_execute(connection, migration->sql, &cause) &&
        record(connection, migration, &cause) && store_execute(connection, "COMMIT", &cause))
        return true;
    return store_fail(failure, STORE_UNAVAILABLE, "", "migration %s was not applied: %.400s",
                      migration->name, cause.why.reason);
}

static bool apply_pending(PGconn *connection, int version,
                          void (*on_applied)(void *context, const struct migration *, uint64_t ms),
                          void *context, struct store_failure *failure)
{
    for (size_t i = 0; i != migration_count; ++i) {
        uint64_t start_ms = clock_monotonic_ms();

        if (migrations[i].version <= version)
            continue;
        if (!apply(connection, &migrations[i], failure))
            return false;
        on_applied(context, &migrations[i], clock_monotonic_ms() - start_ms);
    }
    return true;
}

/* Migrations have no time limit. */
static bool prepare(PGconn *connection, struct store_failure *failure)
{
    return store_execute(connection,
                         "SET client_min_messages = warning; SET statement_timeout = 0;"
                         " SET lock_timeout = 0",
                         failure);
}

bool schema_store_migrate(PGconn *connection, void (*on_wait)(const struct schema_lock_holder *),
                          void (*on_applied)(void *context, const struct migration *, uint64_t ms),
                          void *context, int *version, struct store_failure *failure)
{
    return prepare(connection, failure) && lock(connection, on_wait, failure) &&
           check_table(connection, failure) && store_execute(connection, TABLE_SQL, failure) &&
           (*version = database_version(connection, failure)) >= 0 &&
           apply_pending(connection, *version, on_applied, context, failure) &&
           store_execute(connection, "SELECT make_issued_tokens_partitions(), grant_to_roles()",
                         failure);
}

/* Returns no rows if schema_migrations does not exist; it may still lack works_since. */
static PGresult *applied_rows(PGconn *connection, struct store_failure *failure)
{
    PGresult *result =
        store_query(connection, "SELECT to_regclass('schema_migrations') IS NOT NULL", 0, NULL,
                    failure);
    bool exists = result != NULL && *PQgetvalue(result, 0, 0) == 't';

    PQclear(result);
    if (result == NULL)
        return NULL;
    return store_query(connection,
                       exists ? "SELECT version, name, " STORE_TIME(
                                    "applied_at") ", coalesce(to_jsonb(m) ->> 'works_since',"
                                                  "  version::text)"
                                                  " FROM schema_migrations m ORDER BY version"
                              : "SELECT 0, '', '', 0 LIMIT 0",
                       0, NULL, failure);
}

PGresult *schema_store_applied(PGconn *connection, struct store_failure *failure)
{
    return prepare(connection, failure) && check_table(connection, failure)
               ? applied_rows(connection, failure)
               : NULL;
}

struct applied_values schema_store_values(const PGresult *applied, size_t row)
{
    return (struct applied_values){.version = atoi(PQgetvalue(applied, (int)row, 0)),
                                   .name = PQgetvalue(applied, (int)row, 1),
                                   .applied_at = PQgetvalue(applied, (int)row, 2),
                                   .works_since = atoi(PQgetvalue(applied, (int)row, 3))};
}
