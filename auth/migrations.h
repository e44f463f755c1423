/* The schema's migrations, migrations/NNNN_name.sql, embedded by the build in ascending order. */
#ifndef AUTH_MIGRATIONS_H
#define AUTH_MIGRATIONS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

struct migration {
    int version;      /* NNNN */
    int works_since;  /* programs that know this version and no newer one go on with it */
    const char *name; /* NNNN_name */
    const char *sql;
};

extern const struct migration migrations[];
extern const size_t migration_count;

/* Gives the newest version that the database has, and the oldest that a program must know to work
 * with it; NULLs where the schema was never made. */
#define MIGRATIONS_VERSION_SQL                                                                     \
    "SELECT max(version), max(coalesce(works_since, version)) FROM schema_migrations"

/* Whether the result of that, which may be an error's or NULL, names a schema that this program
 * works with: its own, or a newer one that says so. */
MUST_USE bool migrations_check_version(const PGresult *result, struct failure *failure);

/* The advisory lock under which the schema is changed, by `jotd migrate` and where partitions are
 * made or dropped: "jotd" in ASCII. */
#define MIGRATIONS_LOCK_KEY "1785689188"

#endif
