/* Migrates the schema, and lists what was applied. */
#ifndef AUTH_STORE_SCHEMA_STORE_H
#define AUTH_STORE_SCHEMA_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/migrations.h"
#include "auth/store/store.h"
#include "common/attributes.h"

/* The session that holds the migration lock. */
struct schema_lock_holder {
    int pid; /* of the PostgreSQL backend */
    char user[64];
};

/* Applies what the database lacks, each migration in its own transaction. Connect without the
 * schema check. `on_wait` is called before waiting for another holder of the lock (NULL: unknown),
 * `on_applied` after each migration. `version` is set to what the database had. */
MUST_USE bool
schema_store_migrate(PGconn *connection, void (*on_wait)(const struct schema_lock_holder *),
                     void (*on_applied)(void *context, const struct migration *, uint64_t ms),
                     void *context, int *version, struct store_failure *failure);

struct applied_values {
    int version;
    int works_since;
    const char *name;
    const char *applied_at; /* RFC 3339 */
};

/* Lists what was applied, including what this program does not know. NULL on failure. */
MUST_USE PGresult *schema_store_applied(PGconn *connection, struct store_failure *failure);
struct applied_values schema_store_values(const PGresult *applied, size_t row);

#endif
