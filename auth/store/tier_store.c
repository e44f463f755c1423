#include "auth/store/tier_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/quota/tier.h"
#include "common/integer.h"

#define COLUMNS "name, per_minute, per_hour, per_month"

bool tier_store_check_name(const char *name, struct store_failure *failure)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

    return (*name != '\0' && *name != '_' && *name != '-' && strlen(name) <= TIER_NAME_MAX &&
            strspn(name, allowed) == strlen(name)) ||
           store_fail(failure, STORE_INVALID, "/name",
                      "a tier's name is 1 to %d characters of a-z 0-9 _ - and begins with a letter "
                      "or digit",
                      TIER_NAME_MAX);
}

bool tier_store_check_exists(PGconn *connection, const char *name, struct store_failure *failure)
{
    PGresult *tiers;
    char names[384] = "";
    bool found = false;

    if (name == NULL)
        return true;
    tiers = store_query(connection, "SELECT name FROM tiers ORDER BY name", 0, NULL, failure);
    if (tiers == NULL)
        return false;
    for (int row = 0; row != PQntuples(tiers); ++row) {
        const char *other = PQgetvalue(tiers, row, 0);
        size_t length = strlen(names);

        found = found || strcmp(other, name) == 0;
        snprintf(names + length, sizeof(names) - length, "%s%s", row == 0 ? "" : ", ", other);
    }
    PQclear(tiers);
    return found || store_fail(failure, STORE_NOT_FOUND, "/tier",
                               "there is no tier %.64s; there are: %s", name, names);
}

static struct tier_values values_at(const PGresult *result, int row, int name, int first)
{
    struct tier_values values = {.name = store_text(result, row, name)};

    for (int w = 0; w != QUOTA_WINDOWS; ++w)
        values.limits[w] = store_text(result, row, first + w);
    return values;
}

PGresult *tier_store_list(PGconn *connection, struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM tiers"
                       " ORDER BY per_month NULLS LAST, per_hour NULLS LAST, name",
                       0, NULL, failure);
}

struct tier_values tier_store_values(const PGresult *tiers, size_t row)
{
    return values_at(tiers, (int)row, 0, 1);
}

/* Returns the name and new limits, then the old limits (NULL is unlimited), then whether the tier
 * existed. Limits that are not given stay. */
#define SET_SQL                                                                                    \
    "WITH old AS (SELECT * FROM tiers WHERE name = $1)"                                            \
    " INSERT INTO tiers (" COLUMNS ")"                                                             \
    " VALUES ($1, nullif($2::bigint, 0), nullif($3::bigint, 0), nullif($4::bigint, 0))"            \
    " ON CONFLICT (name) DO UPDATE SET"                                                            \
    "  per_minute = CASE WHEN $2 IS NULL THEN tiers.per_minute ELSE excluded.per_minute END,"      \
    "  per_hour = CASE WHEN $3 IS NULL THEN tiers.per_hour ELSE excluded.per_hour END,"            \
    "  per_month = CASE WHEN $4 IS NULL THEN tiers.per_month ELSE excluded.per_month END"          \
    " RETURNING " COLUMNS ", (SELECT per_minute FROM old), (SELECT per_hour FROM old),"            \
    "  (SELECT per_month FROM old), EXISTS (SELECT FROM old)"

PGresult *tier_store_set(PGconn *connection, const char *name,
                         const long long limits[QUOTA_WINDOWS], struct store_failure *failure)
{
    char texts[QUOTA_WINDOWS][INTEGER_LENGTH_MAX + 1] = {{0}};
    const char *values[1 + QUOTA_WINDOWS] = {name};

    if (!tier_store_check_name(name, failure))
        return NULL;
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (limits[w] < TIER_STORE_UNCHANGED || limits[w] > TIER_STORE_LIMIT_MAX) {
            store_fail(failure, STORE_INVALID, "", "a limit is a whole number from 1 to 10^12");
            return NULL;
        }
        integer_write(limits[w], texts[w]);
        values[1 + w] = limits[w] != TIER_STORE_UNCHANGED ? texts[w] : NULL;
    }
    return store_query(connection, SET_SQL, 1 + QUOTA_WINDOWS, values, failure);
}

struct tier_change_values tier_store_change(const PGresult *changed)
{
    return (struct tier_change_values){
        .now = values_at(changed, 0, 0, 1),
        .before = values_at(changed, 0, 0, 1 + QUOTA_WINDOWS),
        .existed = *PQgetvalue(changed, 0, 1 + 2 * QUOTA_WINDOWS) == 't',
    };
}

/* Fails if clients or organizations use the tier, and says how many. */
static bool check_unused(PGconn *connection, const char *name, struct store_failure *failure)
{
    PGresult *result = store_query(connection,
                                   "SELECT (SELECT count(*) FROM clients WHERE tier = $1),"
                                   " (SELECT count(*) FROM organizations WHERE tier = $1)",
                                   1, &name, failure);
    long long clients, organizations;

    if (result == NULL)
        return false;
    clients = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    organizations = strtoll(PQgetvalue(result, 0, 1), NULL, 10);
    PQclear(result);
    if (organizations == 0 && clients == 0)
        return true;
    if (organizations == 0)
        return store_fail(failure, STORE_CONFLICT, "", "%lld client%s of tier %s", clients,
                          clients == 1 ? " is" : "s are", name);
    return store_fail(failure, STORE_CONFLICT, "",
                      "%lld client%s and %lld organization%s are of "
                      "tier %s",
                      clients, clients == 1 ? "" : "s", organizations,
                      organizations == 1 ? "" : "s", name);
}

bool tier_store_delete(PGconn *connection, const char *name, struct store_failure *failure)
{
    PGresult *result;
    bool deleted;

    if (!check_unused(connection, name, failure))
        return false;
    result = store_query(connection, "DELETE FROM tiers WHERE name = $1", 1, &name, failure);
    deleted = result != NULL && strcmp(PQcmdTuples(result), "1") == 0;
    if (result != NULL && !deleted)
        store_fail(failure, STORE_NOT_FOUND, "", "there is no tier %s", name);
    PQclear(result);
    return deleted;
}

bool tier_store_quota(PGconn *connection, const char *client_id, char tier[TIER_STORE_NAME_SIZE],
                      struct quota *quota, struct store_failure *failure)
{
    PGresult *result =
        store_query(connection,
                    "SELECT t.name, coalesce(t.per_minute, 0), coalesce(t.per_hour, 0),"
                    " coalesce(t.per_month, 0) FROM clients c JOIN tiers t ON t.name = c.tier"
                    " WHERE c.client_id = $1",
                    1, &client_id, failure);
    bool found = result != NULL && PQntuples(result) == 1;

    if (found) {
        snprintf(tier, TIER_STORE_NAME_SIZE, "%s", PQgetvalue(result, 0, 0));
        for (int w = 0; w != QUOTA_WINDOWS; ++w)
            quota->limits[w] = strtoll(PQgetvalue(result, 0, 1 + w), NULL, 10);
    } else if (result != NULL) {
        store_fail(failure, STORE_NOT_FOUND, "", "there is no client %.64s", client_id);
    }
    PQclear(result);
    return found;
}
