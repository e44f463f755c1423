#include "auth/migrations.h"

#include <stdlib.h>
#include <string.h>

static bool is_state(const PGresult *result, const char *state)
{
    const char *field = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    return field != NULL && strcmp(field, state) == 0;
}

bool migrations_check_version(const PGresult *result, struct failure *failure)
{
    bool has_rows = PQresultStatus(result) == PGRES_TUPLES_OK, has_row = PQntuples(result) == 1;
    int known = migrations[migration_count - 1].version;
    int version = has_row ? atoi(PQgetvalue(result, 0, 0)) : 0;
    int works_since = has_row ? atoi(PQgetvalue(result, 0, 1)) : 0;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (is_state(result, "42P01")) /* undefined_table */
        return failure_set(failure,
                           "this database has no jotd schema yet: run `jotd migrate` first");
    if (!has_rows && !is_state(result, "42703")) /* undefined_column: predates works_since */
        return failure_set(failure, "PostgreSQL: %s", message != NULL ? message : "it is lost");
    if (!has_rows)
        return failure_set(failure,
                           "the schema of this database is older than this jotd, or its "
                           "schema_migrations is another program's: run `jotd migrate` first");
    if (version < known)
        return failure_set(failure,
                           "the schema of this database is older than this jotd: run `jotd "
                           "migrate` first");
    if (works_since > known)
        return failure_set(failure,
                           "the schema of this database, version %d, is newer than this jotd, "
                           "which knows %d and would have to know %d: use a newer jotd",
                           version, known, works_since);
    return true;
}
