/* The version of the schema: see migrations.h. */
#include "auth/migrations.h"

#include <stdlib.h>
#include <string.h>

bool migrations_check_version(const PGresult *result, struct failure *failure)
{
    int known = migrations[migration_count - 1].version;
    int version = PQntuples(result) == 1 ? atoi(PQgetvalue(result, 0, 0)) : 0;
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    if (state != NULL && strcmp(state, "42P01") == 0) /* undefined_table */
        return failure_set(failure,
                           "this database has no jotd schema yet: run `jotd migrate` first");
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return failure_set(failure, "PostgreSQL: %s", message != NULL ? message : "it is lost");
    if (version < known)
        return failure_set(failure,
                           "the schema of this database is older than this jotd: run `jotd "
                           "migrate` first");
    if (version > known)
        return failure_set(failure, "the schema of this database is newer than this jotd: use a "
                                    "newer jotd");
    return true;
}
