#include "auth/store/organization_store.h"

#include <stdlib.h>
#include <string.h>

#include "auth/store/document.h"
#include "auth/store/identity.h"
#include "auth/store/tier_store.h"
#include "common/integer.h"

#define DEFAULT_TIER "unlimited" /* of new organizations */

bool organization_store_check_id(const char *organization_id, struct store_failure *failure)
{
    return identity_check(organization_id, "an organization", "/organization_id", failure);
}

static const char *boolean(const bool *value)
{
    return value == NULL ? NULL : *value ? "true" : "false";
}

bool organization_store_check(const struct organization_change *change,
                              struct store_failure *failure)
{
    return change->name == NULL || identity_check_name(change->name, failure);
}

bool organization_store_check_exists(PGconn *connection, const char *organization_id,
                                     struct store_failure *failure)
{
    PGresult *found;
    bool exists;

    if (organization_id == NULL || *organization_id == '\0')
        return true;
    found = store_query(connection, "SELECT FROM organizations WHERE organization_id = $1", 1,
                        &organization_id, failure);
    exists = found != NULL && PQntuples(found) == 1;
    if (found != NULL && !exists)
        store_fail(failure, STORE_NOT_FOUND, "/organization", "there is no organization %.64s",
                   organization_id);
    PQclear(found);
    return exists;
}

/* Values */

#define COLUMNS                                                                                    \
    "organization_id, name, tier, enabled, " STORE_TIME("created_at") ", " STORE_TIME(             \
        "updated_at") ", version"

enum { ID, NAME, TIER, ENABLED, CREATED_AT, UPDATED_AT, VERSION };

struct organization_values organization_store_values(const PGresult *organizations,
                                                     size_t row_number)
{
    int row = (int)row_number;

    return (struct organization_values){
        .organization_id = store_text(organizations, row, ID),
        .name = store_text(organizations, row, NAME),
        .tier = store_text(organizations, row, TIER),
        .is_enabled = *PQgetvalue(organizations, row, ENABLED) == 't',
        .created_at = store_text(organizations, row, CREATED_AT),
        .updated_at = store_text(organizations, row, UPDATED_AT),
        .version = store_text(organizations, row, VERSION),
    };
}

/* Returns `organizations`; if it has no row, clears it and returns NULL. */
static PGresult *expect_one(PGresult *organizations, const char *organization_id,
                            struct store_failure *failure)
{
    if (organizations == NULL || PQntuples(organizations) != 0)
        return organizations;
    PQclear(organizations);
    store_fail(failure, STORE_NOT_FOUND, "", "there is no organization %.64s", organization_id);
    return NULL;
}

/* Reading */

#define LIST_SQL                                                                                   \
    "SELECT " COLUMNS " FROM organizations o"                                                      \
    " WHERE ($1::text IS NULL OR tier = $1)"                                                       \
    " AND ($2::text IS NULL OR position(lower($2) IN lower(organization_id)) <> 0"                 \
    "  OR position(lower($2) IN lower(name)) <> 0)"                                                \
    " AND ($3::text IS NULL OR enabled = $3::boolean)"                                             \
    " AND ($4::text IS NULL OR organization_id > $4)"

PGresult *organization_store_list(PGconn *connection, const struct organization_filter *filter,
                                  struct store_failure *failure)
{
    char limit[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {filter->tier, filter->text, boolean(filter->is_enabled),
                                  filter->after, limit};

    integer_write(filter->limit, limit);
    if (!tier_store_check_exists(connection, filter->tier, failure))
        return NULL;
    return store_query(connection,
                       filter->by_id ? LIST_SQL
                           " ORDER BY organization_id LIMIT nullif($5::bigint, 0)"
                                     : LIST_SQL " ORDER BY o.created_at DESC, organization_id"
                                                " LIMIT nullif($5::bigint, 0)",
                       5, values, failure);
}

PGresult *organization_store_find(PGconn *connection, const char *organization_id,
                                  struct store_failure *failure)
{
    return expect_one(store_query(connection,
                                  "SELECT " COLUMNS " FROM organizations"
                                  " WHERE organization_id = $1",
                                  1, &organization_id, failure),
                      organization_id, failure);
}

bool organization_store_count_clients(PGconn *connection, const char *organization_id,
                                      long long *clients, struct store_failure *failure)
{
    PGresult *result =
        store_query(connection, "SELECT count(*) FROM clients WHERE organization = $1", 1,
                    &organization_id, failure);

    if (result == NULL)
        return false;
    *clients = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return true;
}

/* Changing */

static PGresult *insert(PGconn *connection, const char *organization_id,
                        const struct organization_change *change, struct store_failure *failure)
{
    const char *const values[] = {organization_id, change->name,
                                  change->tier != NULL ? change->tier : DEFAULT_TIER,
                                  boolean(change->is_enabled)};
    PGresult *made;

    if (change->name == NULL) {
        store_fail(failure, STORE_INVALID, "/name", "an organization needs a name");
        return NULL;
    }
    if (!tier_store_check_exists(connection, values[2], failure))
        return NULL;
    made = store_query(connection,
                       "INSERT INTO organizations (organization_id, name, tier, enabled)"
                       " VALUES ($1, $2, $3, coalesce($4::boolean, true))"
                       " ON CONFLICT (organization_id) DO NOTHING RETURNING " COLUMNS,
                       4, values, failure);
    if (made == NULL || PQntuples(made) != 0)
        return made;
    PQclear(made);
    store_fail(failure, STORE_CONFLICT, "/organization_id",
               "there is an organization %.64s already", organization_id);
    return NULL;
}

PGresult *organization_store_create(PGconn *connection, const struct guard *guard,
                                    const char *organization_id,
                                    const struct organization_change *change,
                                    struct store_failure *failure)
{
    char made_id[IDENTITY_MADE_SIZE];

    if (organization_id == NULL) {
        if (!identity_make(made_id, failure))
            return NULL;
        organization_id = made_id;
    }
    if (!organization_store_check_id(organization_id, failure) ||
        !organization_store_check(change, failure) ||
        !guard_check_governs(guard, "organizations", failure))
        return NULL;
    return insert(connection, organization_id, change, failure);
}

PGresult *organization_store_update(PGconn *connection, const char *organization_id,
                                    const struct organization_change *change,
                                    struct store_failure *failure)
{
    const char *const values[] = {organization_id, change->name, change->tier,
                                  boolean(change->is_enabled)};

    if (!organization_store_check(change, failure) ||
        !tier_store_check_exists(connection, change->tier, failure))
        return NULL;
    return expect_one(store_query(connection,
                                  "UPDATE organizations SET name = coalesce($2, name),"
                                  " tier = coalesce($3, tier),"
                                  " enabled = coalesce($4::boolean, enabled)"
                                  " WHERE organization_id = $1 RETURNING " COLUMNS,
                                  4, values, failure),
                      organization_id, failure);
}

PGresult *organization_store_enable(PGconn *connection, const char *organization_id,
                                    bool is_enabled, struct store_failure *failure)
{
    const struct organization_change change = {.is_enabled = &is_enabled};

    return organization_store_update(connection, organization_id, &change, failure);
}

/* Documents */

json_t *organization_store_document(const struct organization_values *organization)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:s, s:s, s:o}", "organization_id",
                     organization->organization_id, "name", organization->name, "tier",
                     organization->tier, "enabled", organization->is_enabled, "created_at",
                     organization->created_at, "updated_at", organization->updated_at, "version",
                     document_number(organization->version));
}

bool organization_store_read(const json_t *document, const char *organization_id,
                             struct organization_change *change, bool *is_enabled,
                             struct store_failure *failure)
{
    static const char *const members[] = {"organization_id", "name",       "tier",    "enabled",
                                          "created_at",      "updated_at", "version", NULL};
    const char *id = NULL;

    *is_enabled = true;
    *change = (struct organization_change){.tier = DEFAULT_TIER, .is_enabled = is_enabled};
    return document_check(document, members, failure) &&
           document_text(document, "organization_id", &id, failure) &&
           (id == NULL || organization_id == NULL || strcmp(id, organization_id) == 0 ||
            store_fail(failure, STORE_INVALID, "/organization_id",
                       "organization_id is not the one that is changed; an id stays")) &&
           document_text(document, "name", &change->name, failure) &&
           document_text(document, "tier", &change->tier, failure) &&
           document_boolean(document, "enabled", is_enabled, failure) &&
           (change->name != NULL ||
            store_fail(failure, STORE_INVALID, "/name", "an organization needs a name")) &&
           organization_store_check(change, failure);
}

/* The result has no row when there is no such organization; NULL on failure. */
static PGresult *lock(PGconn *connection, const char *organization_id,
                      struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM organizations"
                       " WHERE organization_id = $1 FOR NO KEY UPDATE",
                       1, &organization_id, failure);
}

/* Commits an operation's own transaction, and returns `result`; NULL on failure. */
static PGresult *commit_own(PGconn *connection, bool own, PGresult *result,
                            struct store_failure *failure)
{
    if (result == NULL || store_commit_own(connection, own, failure))
        return result;
    PQclear(result);
    return NULL;
}

PGresult *organization_store_put(PGconn *connection, const struct guard *guard,
                                 const char *organization_id, const json_t *document,
                                 bool *was_made, struct store_failure *failure)
{
    PGresult *locked = NULL, *changed = NULL;
    struct organization_change change;
    bool is_enabled, own = false;

    if (!organization_store_check_id(organization_id, failure) ||
        !guard_check_governs(guard, "organizations", failure) ||
        !organization_store_read(document, organization_id, &change, &is_enabled, failure) ||
        !store_begin_own(connection, &own, failure) ||
        (locked = lock(connection, organization_id, failure)) == NULL)
        return NULL;
    *was_made = PQntuples(locked) == 0;
    if (guard_check_version(guard, *was_made ? NULL : organization_store_values(locked, 0).version,
                            failure))
        changed = *was_made
                      ? insert(connection, organization_id, &change, failure)
                      : organization_store_update(connection, organization_id, &change, failure);
    PQclear(locked);
    return commit_own(connection, own, changed, failure);
}

static PGresult *patch_locked(PGconn *connection, const PGresult *locked,
                              const char *organization_id, const json_t *patch,
                              struct store_failure *failure)
{
    struct organization_values values = organization_store_values(locked, 0);
    json_t *old = organization_store_document(&values), *new = document_merge(old, patch);
    struct organization_change change;
    PGresult *patched = NULL;
    bool is_enabled;

    if (organization_store_read(new, organization_id, &change, &is_enabled, failure))
        patched = organization_store_update(connection, organization_id, &change, failure);
    json_decref(old);
    json_decref(new);
    return patched;
}

/* Locks one that the caller may change; NULL on failure. */
static PGresult *lock_guarded(PGconn *connection, const struct guard *guard,
                              const char *organization_id, struct store_failure *failure)
{
    PGresult *locked =
        expect_one(lock(connection, organization_id, failure), organization_id, failure);

    if (locked == NULL ||
        guard_check_version(guard, organization_store_values(locked, 0).version, failure))
        return locked;
    PQclear(locked);
    return NULL;
}

PGresult *organization_store_patch(PGconn *connection, const struct guard *guard,
                                   const char *organization_id, const json_t *patch,
                                   struct store_failure *failure)
{
    PGresult *locked = NULL, *patched = NULL;
    bool own = false;

    if (organization_store_check_id(organization_id, failure) &&
        guard_check_governs(guard, "organizations", failure) &&
        store_begin_own(connection, &own, failure) &&
        (locked = lock_guarded(connection, guard, organization_id, failure)) != NULL)
        patched = patch_locked(connection, locked, organization_id, patch, failure);
    PQclear(locked);
    return commit_own(connection, own, patched, failure);
}

/* Fails while it holds clients. */
static PGresult *delete_empty(PGconn *connection, const char *organization_id,
                              struct store_failure *failure)
{
    long long clients;

    if (!organization_store_count_clients(connection, organization_id, &clients, failure))
        return NULL;
    if (clients != 0) {
        store_fail(failure, STORE_CONFLICT, "", "%lld client%s of organization %.64s", clients,
                   clients == 1 ? " is" : "s are", organization_id);
        return NULL;
    }
    return expect_one(store_query(connection,
                                  "DELETE FROM organizations"
                                  " WHERE organization_id = $1 RETURNING " COLUMNS,
                                  1, &organization_id, failure),
                      organization_id, failure);
}

PGresult *organization_store_delete(PGconn *connection, const struct guard *guard,
                                    const char *organization_id, struct store_failure *failure)
{
    PGresult *locked = NULL, *deleted = NULL;
    bool own = false;

    if (guard_check_governs(guard, "organizations", failure) &&
        store_begin_own(connection, &own, failure) &&
        (locked = lock_guarded(connection, guard, organization_id, failure)) != NULL)
        deleted = delete_empty(connection, organization_id, failure);
    PQclear(locked);
    return commit_own(connection, own, deleted, failure);
}
