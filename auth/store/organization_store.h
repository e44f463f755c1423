/* Organizations: holders of clients. */
#ifndef AUTH_STORE_ORGANIZATION_STORE_H
#define AUTH_STORE_ORGANIZATION_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

/* Views into the PGresult they were read from. */
struct organization_values {
    const char *organization_id;
    const char *name;
    const char *tier;
    bool is_enabled;
    const char *created_at, *updated_at; /* RFC 3339, in UTC */
    const char *version;                 /* a number, raised by every change */
};

/* The values to set. NULL leaves a value as it is; a new organization needs a name, and its tier is
 * `unlimited` by default. */
struct organization_change {
    const char *name;
    const char *tier;
};

/* Validate without a connection. */
MUST_USE bool organization_store_check_id(const char *organization_id,
                                          struct store_failure *failure);
MUST_USE bool organization_store_check(const struct organization_change *change,
                                       struct store_failure *failure);

/* Whether it exists (NULL and the empty text count as existing). */
MUST_USE bool organization_store_check_exists(PGconn *connection, const char *organization_id,
                                              struct store_failure *failure);

/* These return the organization's row (delete: as it last was); NULL on failure. */

/* If `organization_id` is NULL, one is made. */
MUST_USE PGresult *organization_store_create(PGconn *connection, const char *organization_id,
                                             const struct organization_change *change,
                                             struct store_failure *failure);
MUST_USE PGresult *organization_store_find(PGconn *connection, const char *organization_id,
                                           struct store_failure *failure);
MUST_USE PGresult *organization_store_update(PGconn *connection, const char *organization_id,
                                             const struct organization_change *change,
                                             struct store_failure *failure);
MUST_USE PGresult *organization_store_enable(PGconn *connection, const char *organization_id,
                                             bool is_enabled, struct store_failure *failure);
/* Fails while it holds clients. */
MUST_USE PGresult *organization_store_delete(PGconn *connection, const char *organization_id,
                                             struct store_failure *failure);

/* Lists all, newest first. */
MUST_USE PGresult *organization_store_list(PGconn *connection, struct store_failure *failure);

/* Reads a row of these results. */
struct organization_values organization_store_values(const PGresult *organizations, size_t row);

/* Counts the clients that it holds. */
MUST_USE bool organization_store_count_clients(PGconn *connection, const char *organization_id,
                                               long long *clients, struct store_failure *failure);

#endif
