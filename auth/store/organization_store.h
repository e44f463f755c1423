/* Organizations: holders of clients. */
#ifndef AUTH_STORE_ORGANIZATION_STORE_H
#define AUTH_STORE_ORGANIZATION_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/guard.h"
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
    const bool *is_enabled;
};

/* Which organizations are listed; NULL: no matter. */
struct organization_filter {
    const char *tier;
    const char *text; /* somewhere in the id or the name, in any case */
    const bool *is_enabled;
    const char *after; /* an id: only those that follow it */
    bool by_id;        /* ordered by id; otherwise the newest come first */
    long long limit;   /* at most; 0: all */
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
MUST_USE PGresult *organization_store_create(PGconn *connection, const struct guard *guard,
                                             const char *organization_id,
                                             const struct organization_change *change,
                                             struct store_failure *failure);
MUST_USE PGresult *organization_store_find(PGconn *connection, const char *organization_id,
                                           struct store_failure *failure);
MUST_USE PGresult *organization_store_update(PGconn *connection, const char *organization_id,
                                             const struct organization_change *change,
                                             struct store_failure *failure);
MUST_USE PGresult *organization_store_enable(PGconn *connection, const char *organization_id,
                                             bool is_enabled, struct store_failure *failure);
/* Makes it if there is none of this id; sets `was_made`. */
MUST_USE PGresult *organization_store_put(PGconn *connection, const struct guard *guard,
                                          const char *organization_id, const json_t *document,
                                          bool *was_made, struct store_failure *failure);
/* Merges the patch into its document (RFC 7396). */
MUST_USE PGresult *organization_store_patch(PGconn *connection, const struct guard *guard,
                                            const char *organization_id, const json_t *patch,
                                            struct store_failure *failure);
/* Fails while it holds clients. */
MUST_USE PGresult *organization_store_delete(PGconn *connection, const struct guard *guard,
                                             const char *organization_id,
                                             struct store_failure *failure);

MUST_USE PGresult *organization_store_list(PGconn *connection,
                                           const struct organization_filter *filter,
                                           struct store_failure *failure);

/* All its values as a JSON object, which the caller owns. */
json_t *organization_store_document(const struct organization_values *organization);

/* Reads the change that a document makes; `organization_id` must be the one given (NULL: any). */
MUST_USE bool organization_store_read(const json_t *document, const char *organization_id,
                                      struct organization_change *change, bool *is_enabled,
                                      struct store_failure *failure);

/* Reads a row of these results. */
struct organization_values organization_store_values(const PGresult *organizations, size_t row);

/* Counts the clients that it holds. */
MUST_USE bool organization_store_count_clients(PGconn *connection, const char *organization_id,
                                               long long *clients, struct store_failure *failure);

#endif
