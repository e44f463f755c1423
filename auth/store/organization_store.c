#include "auth/store/organization_store.h"

#include <stdlib.h>

#include "auth/store/identity.h"
#include "auth/store/tier_store.h"

#define DEFAULT_TIER "unlimited" /* of new organizations */

bool organization_store_check_id(const char *organization_id, struct store_failure *failure)
{
    return identity_check(organization_id, "an organization", "/organization_id", failure);
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

PGresult *organization_store_list(PGconn *connection, struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM organizations o"
                       " ORDER BY o.created_at DESC, organization_id",
                       0, NULL, failure);
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
                                  change->tier != NULL ? change->tier : DEFAULT_TIER};
    PGresult *made;

    if (!tier_store_check_exists(connection, values[2], failure))
        return NULL;
    made = store_query(connection,
                       "INSERT INTO organizations (organization_id, name, tier)"
                       " VALUES ($1, $2, $3)"
                       " ON CONFLICT (organization_id) DO NOTHING RETURNING " COLUMNS,
                       3, values, failure);
    if (made == NULL || PQntuples(made) != 0)
        return made;
    PQclear(made);
    store_fail(failure, STORE_CONFLICT, "/organization_id",
               "there is an organization %.64s already", organization_id);
    return NULL;
}

PGresult *organization_store_create(PGconn *connection, const char *organization_id,
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
        !organization_store_check(change, failure))
        return NULL;
    return insert(connection, organization_id, change, failure);
}

PGresult *organization_store_update(PGconn *connection, const char *organization_id,
                                    const struct organization_change *change,
                                    struct store_failure *failure)
{
    const char *const values[] = {organization_id, change->name, change->tier};

    if (!organization_store_check(change, failure) ||
        !tier_store_check_exists(connection, change->tier, failure))
        return NULL;
    return expect_one(store_query(connection,
                                  "UPDATE organizations SET name = coalesce($2, name),"
                                  " tier = coalesce($3, tier)"
                                  " WHERE organization_id = $1 RETURNING " COLUMNS,
                                  3, values, failure),
                      organization_id, failure);
}

PGresult *organization_store_enable(PGconn *connection, const char *organization_id,
                                    bool is_enabled, struct store_failure *failure)
{
    const char *const values[] = {organization_id, is_enabled ? "true" : "false"};

    return expect_one(store_query(connection,
                                  "UPDATE organizations SET enabled = $2::boolean"
                                  " WHERE organization_id = $1 RETURNING " COLUMNS,
                                  2, values, failure),
                      organization_id, failure);
}

PGresult *organization_store_delete(PGconn *connection, const char *organization_id,
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
