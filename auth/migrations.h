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
    const char *name; /* NNNN_name */
    const char *sql;
};

extern const struct migration migrations[];
extern const size_t migration_count;

/* Gives the newest version that the database has, as `version`, or no row where the schema was
 * never made. This program works with exactly migrations[migration_count - 1].version. */
#define MIGRATIONS_VERSION_SQL "SELECT max(version) AS version FROM schema_migrations"

/* Whether the result of that, which may be an error's or NULL, names the version that this program
 * works with. */
MUST_USE bool migrations_check_version(const PGresult *result, struct failure *failure);

/* The advisory lock under which the schema is changed, by `jotd migrate` and where partitions are
 * made or dropped: "jotd" in ASCII. */
#define MIGRATIONS_LOCK_KEY "1785689188"

#endif
