/* The schema migrations (migrations/NNNN_name.sql), embedded by the build in ascending order. */
#ifndef AUTH_MIGRATIONS_H
#define AUTH_MIGRATIONS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

struct migration {
    int version;      /* NNNN */
    int works_since;  /* a program must know this version to work with the schema */
    const char *name; /* NNNN_name */
    const char *sql;
};

extern const struct migration migrations[];
extern const size_t migration_count;

/* Selects the newest version in the database, and the oldest that a program must know to work with
 * it; NULLs if no migration was applied. */
#define MIGRATIONS_VERSION_SQL                                                                     \
    "SELECT max(version), max(coalesce(works_since, version)) FROM schema_migrations"

/* Checks the result of MIGRATIONS_VERSION_SQL, which may be an error or NULL. True if this program
 * works with the schema: its own version, or a newer one that allows it. */
MUST_USE bool migrations_check_version(const PGresult *result, struct failure *failure);

/* The advisory lock held while the schema changes, by `jotd migrate` and when partitions are made
 * or dropped: "jotd" in ASCII. */
#define MIGRATIONS_LOCK_KEY "1785689188"

#endif
