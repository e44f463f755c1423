#include "auth/store/tier_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/client.h"
#include "auth/quota/tier.h"
#include "auth/store/document.h"
#include "common/integer.h"

#define COLUMNS "name, per_minute, per_hour, per_month, token_ttl, version"

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

/* `first` is the column of the first limit; the lifetime and the version follow them. */
static struct tier_values values_at(const PGresult *result, int row, int first)
{
    struct tier_values values = {.name = store_text(result, row, 0),
                                 .token_ttl = store_text(result, row, first + QUOTA_WINDOWS),
                                 .version = store_text(result, row, first + QUOTA_WINDOWS + 1)};

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
    return values_at(tiers, (int)row, 1);
}

#define PARAMETERS (1 + QUOTA_WINDOWS + 1)
#define VALUES     (QUOTA_WINDOWS + 2) /* columns of them: limits, lifetime, version */

/* Returns the name and the new values, then the old values (NULL is unlimited, or no lifetime of
 * its own), then whether the tier existed. What is not given stays. */
#define SET_SQL                                                                                    \
    "WITH old AS (SELECT * FROM tiers WHERE name = $1)"                                            \
    " INSERT INTO tiers (name, per_minute, per_hour, per_month, token_ttl)"                        \
    " VALUES ($1, nullif($2::bigint, 0), nullif($3::bigint, 0), nullif($4::bigint, 0),"            \
    "  nullif($5::int, 0))"                                                                        \
    " ON CONFLICT (name) DO UPDATE SET"                                                            \
    "  per_minute = CASE WHEN $2 IS NULL THEN tiers.per_minute ELSE excluded.per_minute END,"      \
    "  per_hour = CASE WHEN $3 IS NULL THEN tiers.per_hour ELSE excluded.per_hour END,"            \
    "  per_month = CASE WHEN $4 IS NULL THEN tiers.per_month ELSE excluded.per_month END,"         \
    "  token_ttl = CASE WHEN $5 IS NULL THEN tiers.token_ttl ELSE excluded.token_ttl END"          \
    " RETURNING " COLUMNS ", (SELECT per_minute FROM old), (SELECT per_hour FROM old),"            \
    "  (SELECT per_month FROM old), (SELECT token_ttl FROM old), (SELECT version FROM old),"       \
    "  EXISTS (SELECT FROM old)"

static bool check_settings(const struct tier_settings *settings, struct store_failure *failure)
{
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (settings->limits[w] < TIER_STORE_UNCHANGED ||
            settings->limits[w] > TIER_STORE_LIMIT_MAX)
            return store_fail(failure, STORE_INVALID, "",
                              "a limit is a whole number from 1 to 10^12");
    }
    return (settings->token_ttl_s >= TIER_STORE_UNCHANGED &&
            settings->token_ttl_s <= CLIENT_MAX_TTL_S) ||
           store_fail(failure, STORE_INVALID, "/token_ttl",
                      "a token_ttl is a whole number from 0 to %d", CLIENT_MAX_TTL_S);
}

PGresult *tier_store_set(PGconn *connection, const char *name, const struct tier_settings *settings,
                         struct store_failure *failure)
{
    char texts[PARAMETERS][INTEGER_LENGTH_MAX + 1] = {{0}};
    const char *values[PARAMETERS] = {name};

    if (!tier_store_check_name(name, failure) || !check_settings(settings, failure))
        return NULL;
    for (size_t i = 1; i != PARAMETERS; ++i) {
        long long value = i <= QUOTA_WINDOWS ? settings->limits[i - 1] : settings->token_ttl_s;

        integer_write(value, texts[i]);
        values[i] = value != TIER_STORE_UNCHANGED ? texts[i] : NULL;
    }
    return store_query(connection, SET_SQL, PARAMETERS, values, failure);
}

struct tier_change_values tier_store_change(const PGresult *changed)
{
    return (struct tier_change_values){
        .now = values_at(changed, 0, 1),
        .before = values_at(changed, 0, 1 + VALUES),
        .existed = *PQgetvalue(changed, 0, 1 + 2 * VALUES) == 't',
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

static bool delete_unused(PGconn *connection, const char *name, struct store_failure *failure)
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

/* Documents */

PGresult *tier_store_find(PGconn *connection, const char *name, struct store_failure *failure)
{
    PGresult *found =
        store_query(connection, "SELECT " COLUMNS " FROM tiers WHERE name = $1", 1, &name, failure);

    if (found == NULL || PQntuples(found) != 0)
        return found;
    PQclear(found);
    store_fail(failure, STORE_NOT_FOUND, "", "there is no tier %.64s", name);
    return NULL;
}

json_t *tier_store_document(const struct tier_values *tier)
{
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "name", tier->name, "per_minute",
                     document_number(tier->limits[QUOTA_MINUTE]), "per_hour",
                     document_number(tier->limits[QUOTA_HOUR]), "per_month",
                     document_number(tier->limits[QUOTA_MONTH]), "token_ttl",
                     document_number(tier->token_ttl), "version", document_number(tier->version));
}

/* Null, or absent, is unlimited; 0 would be nothing at all. */
static bool read_limit(const json_t *document, const char *name, long long *limit,
                       struct store_failure *failure)
{
    long long given = TIER_STORE_UNCHANGED;

    if (!document_integer(document, name, &given, failure))
        return false;
    *limit = given == TIER_STORE_UNCHANGED ? TIER_STORE_UNLIMITED : given;
    if (given == TIER_STORE_UNCHANGED || (given >= 1 && given <= TIER_STORE_LIMIT_MAX))
        return true;
    store_fail(failure, STORE_INVALID, "",
               "%s is a whole number from 1 to 10^12, or null for unlimited", name);
    store_point_to(failure, "", name);
    return false;
}

bool tier_store_read(const json_t *document, const char *name, struct tier_settings *settings,
                     struct store_failure *failure)
{
    static const char *const members[] = {"name",      "per_minute", "per_hour", "per_month",
                                          "token_ttl", "version",    NULL};
    const char *given = NULL;

    settings->token_ttl_s = TIER_STORE_NO_TTL;
    return document_check(document, members, failure) &&
           document_text(document, "name", &given, failure) &&
           (given == NULL || name == NULL || strcmp(given, name) == 0 ||
            store_fail(failure, STORE_INVALID, "/name",
                       "name is not the one that is changed; a name stays")) &&
           read_limit(document, "per_minute", &settings->limits[QUOTA_MINUTE], failure) &&
           read_limit(document, "per_hour", &settings->limits[QUOTA_HOUR], failure) &&
           read_limit(document, "per_month", &settings->limits[QUOTA_MONTH], failure) &&
           document_integer(document, "token_ttl", &settings->token_ttl_s, failure) &&
           (settings->token_ttl_s >= 0 ||
            store_fail(failure, STORE_INVALID, "/token_ttl",
                       "a token_ttl is a whole number from 0 to %d", CLIENT_MAX_TTL_S)) &&
           check_settings(settings, failure);
}

/* The result has no row when there is no such tier; NULL on failure. */
static PGresult *lock(PGconn *connection, const char *name, struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM tiers WHERE name = $1 FOR NO KEY UPDATE", 1, &name,
                       failure);
}

/* Commits an operation's own transaction, and returns the tier; NULL on failure. */
static PGresult *commit_own(PGconn *connection, bool own, PGresult *result,
                            struct store_failure *failure)
{
    if (result == NULL || store_commit_own(connection, own, failure))
        return result;
    PQclear(result);
    return NULL;
}

PGresult *tier_store_put(PGconn *connection, const struct guard *guard, const char *name,
                         const json_t *document, bool *was_made, struct store_failure *failure)
{
    PGresult *locked = NULL, *changed = NULL;
    struct tier_settings settings;
    bool own = false;

    if (!tier_store_check_name(name, failure) || !guard_check_governs(guard, "tiers", failure) ||
        !tier_store_read(document, name, &settings, failure) ||
        !store_begin_own(connection, &own, failure) ||
        (locked = lock(connection, name, failure)) == NULL)
        return NULL;
    *was_made = PQntuples(locked) == 0;
    if (guard_check_version(guard, *was_made ? NULL : tier_store_values(locked, 0).version,
                            failure))
        changed = tier_store_set(connection, name, &settings, failure);
    PQclear(locked);
    return commit_own(connection, own, changed, failure);
}

/* Locks one that the caller may change; NULL on failure. */
static PGresult *lock_guarded(PGconn *connection, const struct guard *guard, const char *name,
                              struct store_failure *failure)
{
    PGresult *locked = lock(connection, name, failure);

    if (locked == NULL)
        return NULL;
    if (PQntuples(locked) == 0)
        store_fail(failure, STORE_NOT_FOUND, "", "there is no tier %.64s", name);
    else if (guard_check_version(guard, tier_store_values(locked, 0).version, failure))
        return locked;
    PQclear(locked);
    return NULL;
}

static PGresult *patch_locked(PGconn *connection, const PGresult *locked, const char *name,
                              const json_t *patch, struct store_failure *failure)
{
    struct tier_values values = tier_store_values(locked, 0);
    json_t *old = tier_store_document(&values), *new = document_merge(old, patch);
    struct tier_settings settings;
    PGresult *patched = NULL;

    if (tier_store_read(new, name, &settings, failure))
        patched = tier_store_set(connection, name, &settings, failure);
    json_decref(old);
    json_decref(new);
    return patched;
}

PGresult *tier_store_patch(PGconn *connection, const struct guard *guard, const char *name,
                           const json_t *patch, struct store_failure *failure)
{
    PGresult *locked = NULL, *patched = NULL;
    bool own = false;

    if (guard_check_governs(guard, "tiers", failure) && tier_store_check_name(name, failure) &&
        store_begin_own(connection, &own, failure) &&
        (locked = lock_guarded(connection, guard, name, failure)) != NULL)
        patched = patch_locked(connection, locked, name, patch, failure);
    PQclear(locked);
    return commit_own(connection, own, patched, failure);
}

bool tier_store_delete(PGconn *connection, const struct guard *guard, const char *name,
                       struct store_failure *failure)
{
    PGresult *locked = NULL;
    bool own = false;
    bool deleted = guard_check_governs(guard, "tiers", failure) &&
                   store_begin_own(connection, &own, failure) &&
                   (locked = lock_guarded(connection, guard, name, failure)) != NULL &&
                   delete_unused(connection, name, failure) &&
                   store_commit_own(connection, own, failure);

    PQclear(locked);
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
