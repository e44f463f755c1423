#include "auth/store/client_store.h"

#include <openssl/crypto.h>
#include <string.h>

#include "auth/store/client_document.h"
#include "auth/store/document.h"
#include "auth/store/identity.h"
#include "auth/store/organization_store.h"
#include "auth/store/secret_store.h"
#include "auth/store/tier_store.h"
#include "common/integer.h"

bool client_store_check_id(const char *client_id, struct store_failure *failure)
{
    return identity_check(client_id, "a client", "/client_id", failure);
}

/* Values */

#define COLUMNS                                                                                    \
    "client_id, name, tier, enabled, array_to_string(scopes, ' '),"                                \
    " array_to_string(audiences, ' '), token_ttl, " STORE_TIME("created_at") ", " STORE_TIME(      \
        "updated_at") ", organization, array_to_string(introspect, ' '), labels, "                 \
                      "claims, " STORE_TIME_MS("tokens_valid_from") ", version"

enum {
    ID,
    NAME,
    TIER,
    ENABLED,
    SCOPE,
    AUDIENCES,
    TOKEN_TTL,
    CREATED_AT,
    UPDATED_AT,
    ORGANIZATION,
    INTROSPECT,
    LABELS,
    CLAIMS,
    TOKENS_VALID_FROM,
    VERSION,
};

struct client_values client_store_values(const PGresult *clients, size_t row_number)
{
    int row = (int)row_number;

    return (struct client_values){
        .client_id = store_text(clients, row, ID),
        .name = store_text(clients, row, NAME),
        .tier = store_text(clients, row, TIER),
        .scope = store_text(clients, row, SCOPE),
        .audiences = store_text(clients, row, AUDIENCES),
        .token_ttl = store_text(clients, row, TOKEN_TTL),
        .is_enabled = *PQgetvalue(clients, row, ENABLED) == 't',
        .created_at = store_text(clients, row, CREATED_AT),
        .updated_at = store_text(clients, row, UPDATED_AT),
        .organization = store_text(clients, row, ORGANIZATION),
        .introspect = store_text(clients, row, INTROSPECT),
        .labels = store_text(clients, row, LABELS),
        .claims = store_text(clients, row, CLAIMS),
        .tokens_valid_from = store_text(clients, row, TOKENS_VALID_FROM),
        .version = store_text(clients, row, VERSION),
    };
}

/* Returns `clients`; if it has no row, clears it and returns NULL. */
static PGresult *expect_client(PGresult *clients, const char *client_id,
                               struct store_failure *failure)
{
    if (clients == NULL || PQntuples(clients) != 0)
        return clients;
    PQclear(clients);
    store_fail(failure, STORE_NOT_FOUND, "", "there is no client %.64s", client_id);
    return NULL;
}

/* Reading */

/* A part of an id or name, in any case. */
#define LIKE(text) "'%' || lower(regexp_replace(" text ", '([\\\\%_])', '\\\\\\1', 'g')) || '%'"
#define HAS_TEXT(text)                                                                             \
    "(" text "::text IS NULL OR (threes(client_id || ' ' || name) @> threes(" text ")"             \
    " AND (lower(client_id) LIKE " LIKE(text) " OR lower(name) LIKE " LIKE(text) ")))"
#define HAS_LABELS(labels_text)                                                                    \
    "(" labels_text "::text IS NULL OR labels @> " labels_text "::jsonb)"

/* Each filter that is not given is NULL. The last use is looked for newest first, by index. */
#define LIST_SQL                                                                                   \
    "SELECT " COLUMNS " FROM clients"                                                              \
    " WHERE ($1::text IS NULL OR tier = $1)"                                                       \
    " AND ($2::text IS NULL OR organization = $2)"                                                 \
    " AND " HAS_TEXT("$3") " AND " HAS_LABELS(                                                     \
        "$5") " AND ($4::text IS NULL OR $4 = ANY (scopes))"                                       \
              " AND ($6::text IS NULL OR (clients.created_at < $6::timestamptz"                    \
              "  AND NOT EXISTS (SELECT FROM issued_tokens t WHERE t.client_id = "                 \
              "clients.client_id"                                                                  \
              "   AND t.issued_at >= $6::timestamptz)))"                                           \
              " AND ($7::text IS NULL OR (SELECT max(coalesce(s.expires_at, 'infinity'))"          \
              "  FROM client_secrets s WHERE s.client_id = clients.client_id"                      \
              "  AND (s.expires_at IS NULL OR s.expires_at > now())) < $7::timestamptz)"           \
              " AND ($8::text IS NULL OR enabled = $8::boolean)"                                   \
              " AND ($9::text IS NULL OR client_id > $9)"

#define FEW "10000" /* clients, that are sorted in no time */

/* Whether a label or text finds few clients. These are found by its index, and sorted; many are
 * found in the order of their ids. PostgreSQL cannot tell beforehand, and would read all clients in
 * that order to find one. */
static bool finds_few(PGconn *connection, const struct client_filter *filter, bool *few,
                      struct store_failure *failure)
{
    const char *const values[] = {filter->text, filter->labels};
    PGresult *found;

    *few = false;
    if (filter->text == NULL && filter->labels == NULL)
        return true;
    found = store_query(connection,
                        "SELECT count(*) <= " FEW " FROM (SELECT FROM clients WHERE " HAS_TEXT(
                            "$1") " AND " HAS_LABELS("$2") " LIMIT " FEW " + 1) AS found",
                        2, values, failure);
    if (found == NULL)
        return false;
    *few = *PQgetvalue(found, 0, 0) == 't';
    PQclear(found);
    return true;
}

PGresult *client_store_list(PGconn *connection, const struct client_filter *filter,
                            struct store_failure *failure)
{
    char limit[INTEGER_LENGTH_MAX + 1] = "";
    const char *enabled = filter->is_enabled == NULL ? NULL
                          : *filter->is_enabled      ? "true"
                                                     : "false";
    const char *const values[] = {
        filter->tier,         filter->organization,   filter->text, filter->scope, filter->labels,
        filter->unused_since, filter->expires_before, enabled,      filter->after, limit};
    const char *sql = LIST_SQL " ORDER BY clients.created_at DESC, client_id"
                               " LIMIT nullif($10::bigint, 0)";
    bool few;

    integer_write(filter->limit, limit);
    if (!tier_store_check_exists(connection, filter->tier, failure) ||
        !organization_store_check_exists(connection, filter->organization, failure) ||
        !finds_few(connection, filter, &few, failure))
        return NULL;
    if (filter->by_id)
        sql = few ? LIST_SQL " ORDER BY client_id || '' LIMIT nullif($10::bigint, 0)"
                  : LIST_SQL " ORDER BY client_id LIMIT nullif($10::bigint, 0)";
    return store_query(connection, sql, 10, values, failure);
}

PGresult *client_store_find(PGconn *connection, const char *client_id,
                            struct store_failure *failure)
{
    return expect_client(store_query(connection,
                                     "SELECT " COLUMNS " FROM clients WHERE client_id = $1", 1,
                                     &client_id, failure),
                         client_id, failure);
}

PGresult *client_store_find_all(PGconn *connection, const json_t *client_ids,
                                struct store_failure *failure)
{
    char *ids = json_dumps(client_ids, JSON_COMPACT);
    const char *const values[] = {ids};
    PGresult *found = NULL;

    if (ids == NULL)
        store_fail(failure, STORE_UNAVAILABLE, "", "out of memory");
    else
        found = store_query(connection,
                            "SELECT " COLUMNS " FROM clients WHERE client_id ="
                            " ANY (ARRAY(SELECT json_array_elements_text($1::json)))",
                            1, values, failure);
    free(ids);
    return found;
}

bool client_store_longest_ttl(PGconn *connection, long long *ttl_s, struct store_failure *failure)
{
    PGresult *result = store_query(connection,
                                   "SELECT coalesce(max(token_ttl), 0) FROM "
                                   "(SELECT token_ttl FROM clients UNION ALL "
                                   "SELECT token_ttl FROM tiers) AS all_ttls",
                                   0, NULL, failure);
    bool read = result != NULL;

    if (read && !integer_parse(PQgetvalue(result, 0, 0), 0, CLIENT_MAX_TTL_S, ttl_s))
        *ttl_s = CLIENT_MAX_TTL_S;
    PQclear(result);
    return read;
}

bool client_store_has_administrator(PGconn *connection, bool *has, struct store_failure *failure)
{
    PGresult *found = store_query(connection,
                                  "SELECT FROM clients WHERE enabled"
                                  " AND '" GUARD_SCOPE_ADMIN "' = ANY (scopes) LIMIT 1",
                                  0, NULL, failure);

    *has = found != NULL && PQntuples(found) == 1;
    PQclear(found);
    return found != NULL;
}

/* Changing */

/* The parameters of the statements that set values; NULL is not given. */
#define PARAMETERS 12

static void bind_values(const char *client_id, const struct client_change *change,
                        const struct client_columns *columns, const char *values[PARAMETERS])
{
    const char *const bound[PARAMETERS] = {
        client_id,
        change->name,
        change->tier,
        change->scope != NULL ? columns->scope : NULL,
        change->audience_count != 0 ? columns->audiences : NULL,
        change->token_ttl_s != NULL ? columns->token_ttl : NULL,
        change->organization,
        change->introspect_count != 0 ? columns->introspect : NULL,
        columns->labels,
        columns->claims,
        change->is_enabled == NULL ? NULL
        : *change->is_enabled      ? "true"
                                   : "false",
        change->replaces ? "true" : "false",
    };

    memcpy(values, bound, sizeof(bound));
}

/* Merges an object of client_attributes into `old`, in one expression. `value` makes jsonb of a
 * value. */
#define MERGED(old, object, value)                                                                 \
    "((" old " - ARRAY(SELECT key FROM jsonb_each_text(" object "::jsonb) WHERE value IS NULL))"   \
    " || coalesce((SELECT jsonb_object_agg(key, " value ") FROM jsonb_each_text(" object           \
    "::jsonb) WHERE value IS NOT NULL), '{}'))"
#define KEPT(column)   "(CASE WHEN $12::boolean THEN '{}'::jsonb ELSE " column " END)"
#define LABELS_SQL     MERGED(KEPT("labels"), "$9", "value")
#define CLAIMS_SQL     MERGED(KEPT("claims"), "$10", "value::jsonb")
#define NEW_LABELS_SQL MERGED("'{}'::jsonb", "$9", "value")
#define NEW_CLAIMS_SQL MERGED("'{}'::jsonb", "$10", "value::jsonb")

/* Locks the client, so that its changes run one at a time. The result has no row when there is no
 * such client; NULL on failure. */
static PGresult *lock_row(PGconn *connection, const char *client_id, struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM clients WHERE client_id = $1 FOR NO KEY UPDATE", 1,
                       &client_id, failure);
}

/* Whether the caller may touch the client as it is. */
static bool check_guard(const struct guard *guard, const PGresult *clients,
                        struct store_failure *failure)
{
    struct client_values client = client_store_values(clients, 0);
    struct guard_client touched = {client.scope, client.audiences, client.introspect};

    return guard_check_client(guard, &touched, failure) &&
           guard_check_version(guard, client.version, failure);
}

/* Locks a client that the caller may touch; NULL on failure. */
static PGresult *lock_client(PGconn *connection, const struct guard *guard, const char *client_id,
                             struct store_failure *failure)
{
    PGresult *client = expect_client(lock_row(connection, client_id, failure), client_id, failure);

    if (client != NULL && !check_guard(guard, client, failure)) {
        PQclear(client);
        return NULL;
    }
    return client;
}

/* Somebody may know the secrets that a client has. Who made it would be an administrator with one
 * of them. */
static bool check_promotion(PGconn *connection, const PGresult *clients, const char *client_id,
                            const char *scope, struct store_failure *failure)
{
    PGresult *live;
    bool has_live;

    if (!guard_has_reserved_scope(scope) ||
        guard_has_reserved_scope(client_store_values(clients, 0).scope))
        return true;
    live = store_query(connection,
                       "SELECT FROM client_secrets WHERE client_id = $1"
                       " AND (expires_at IS NULL OR expires_at > now()) LIMIT 1",
                       1, &client_id, failure);
    if (live == NULL)
        return false;
    has_live = PQntuples(live) != 0;
    PQclear(live);
    return !has_live ||
           store_fail(failure, STORE_CONFLICT, "/scopes",
                      "a client that has secrets already cannot get a scope jotd:…, since somebody "
                      "may know them: make a new client, or revoke them first");
}

/* Whether the caller may give a client what the change gives. */
static bool check_values(PGconn *connection, const struct guard *guard,
                         const struct client_change *change, const struct client_columns *columns,
                         struct store_failure *failure)
{
    struct guard_client touched = {columns->scope, columns->audiences, columns->introspect};

    return guard_check_client(guard, &touched, failure) &&
           tier_store_check_exists(connection, change->tier, failure) &&
           organization_store_check_exists(connection, change->organization, failure);
}

static PGresult *update_row(PGconn *connection, const char *client_id,
                            const struct client_change *change,
                            const struct client_columns *columns, struct store_failure *failure)
{
    const char *values[PARAMETERS];

    bind_values(client_id, change, columns, values);
    return store_query(connection,
                       "UPDATE clients SET name = coalesce($2, name), tier = coalesce($3, tier),"
                       " scopes = coalesce(string_to_array($4, ' '), scopes),"
                       " audiences = coalesce(string_to_array($5, ' '), audiences),"
                       " token_ttl = CASE WHEN $6::int IS NULL THEN token_ttl"
                       "  ELSE nullif($6::int, 0) END,"
                       " organization = CASE WHEN $7::text IS NULL THEN organization"
                       "  ELSE nullif($7, '') END,"
                       " introspect = coalesce(string_to_array($8, ' '), introspect),"
                       " labels = " LABELS_SQL ", claims = " CLAIMS_SQL ","
                       " enabled = coalesce($11::boolean, enabled)"
                       " WHERE client_id = $1 RETURNING " COLUMNS,
                       PARAMETERS, values, failure);
}

/* Changes the client that `locked` holds. */
static PGresult *update_locked(PGconn *connection, const struct guard *guard,
                               const PGresult *locked, const char *client_id,
                               const struct client_change *change, struct store_failure *failure)
{
    struct client_columns columns;
    PGresult *updated = NULL;

    if (client_change_prepare(change, &columns, failure) &&
        check_values(connection, guard, change, &columns, failure) &&
        check_promotion(connection, locked, client_id, columns.scope, failure))
        updated = update_row(connection, client_id, change, &columns, failure);
    client_change_dispose(&columns);
    return updated;
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

PGresult *client_store_update(PGconn *connection, const struct guard *guard, const char *client_id,
                              const struct client_change *change, struct store_failure *failure)
{
    PGresult *locked = NULL, *updated = NULL;
    bool own = false;

    if (client_change_check(change, failure) && store_begin_own(connection, &own, failure) &&
        (locked = lock_client(connection, guard, client_id, failure)) != NULL)
        updated = update_locked(connection, guard, locked, client_id, change, failure);
    PQclear(locked);
    return commit_own(connection, own, updated, failure);
}

static PGresult *insert_row(PGconn *connection, const struct guard *guard, const char *client_id,
                            const struct client_change *change, struct store_failure *failure)
{
    struct client_columns columns;
    const char *values[PARAMETERS];
    PGresult *made = NULL;

    if (change->name == NULL) {
        store_fail(failure, STORE_INVALID, "/name", "a client needs a name");
        return NULL;
    }
    if (client_change_prepare(change, &columns, failure) &&
        (change->tier != NULL ||
         tier_store_check_exists(connection, CLIENT_CHANGE_DEFAULT_TIER, failure)) &&
        check_values(connection, guard, change, &columns, failure)) {
        bind_values(client_id, change, &columns, values);
        made = store_query(
            connection,
            "INSERT INTO clients (client_id, name, tier, scopes, audiences, token_ttl,"
            "  organization, introspect, labels, claims, enabled)"
            " VALUES ($1, $2, coalesce($3, '" CLIENT_CHANGE_DEFAULT_TIER "'),"
            "  coalesce(string_to_array($4, ' '), '{}'), coalesce(string_to_array($5, ' '), '{}'),"
            "  nullif($6::int, 0), nullif($7, ''), coalesce(string_to_array($8, ' '), '{}'),"
            "  " NEW_LABELS_SQL ", " NEW_CLAIMS_SQL ", coalesce($11::boolean, true))"
            " ON CONFLICT (client_id) DO NOTHING RETURNING client_id, $12::boolean",
            PARAMETERS, values, failure);
    }
    client_change_dispose(&columns);
    return made;
}

/* A trigger may have changed it after the insert. */
static PGresult *insert_client(PGconn *connection, const struct guard *guard, const char *client_id,
                               const struct client_change *change, struct store_failure *failure)
{
    PGresult *made = insert_row(connection, guard, client_id, change, failure);
    bool is_new = made != NULL && PQntuples(made) == 1;

    if (made != NULL && !is_new)
        store_fail(failure, STORE_CONFLICT, "/client_id", "there is a client %.64s already",
                   client_id);
    PQclear(made);
    return is_new ? client_store_find(connection, client_id, failure) : NULL;
}

PGresult *client_store_put(PGconn *connection, const struct guard *guard, const char *client_id,
                           const json_t *json, bool *was_made, struct store_failure *failure)
{
    PGresult *locked = NULL, *client = NULL;
    struct client_document document;
    bool own = false;

    if (!client_store_check_id(client_id, failure) ||
        !client_document_read(json, client_id, &document, failure) ||
        !store_begin_own(connection, &own, failure) ||
        (locked = lock_row(connection, client_id, failure)) == NULL)
        return NULL;
    *was_made = PQntuples(locked) == 0;
    if (*was_made && guard_check_version(guard, NULL, failure))
        client = insert_client(connection, guard, client_id, &document.change, failure);
    else if (!*was_made && check_guard(guard, locked, failure) &&
             client_document_check_name(&document, failure))
        client = update_locked(connection, guard, locked, client_id, &document.change, failure);
    PQclear(locked);
    return commit_own(connection, own, client, failure);
}

static PGresult *patch_locked(PGconn *connection, const struct guard *guard, const PGresult *locked,
                              const char *client_id, const json_t *patch,
                              struct store_failure *failure)
{
    struct client_values values = client_store_values(locked, 0);
    json_t *old = client_document(&values), *new = document_merge(old, patch);
    struct client_document document;
    PGresult *patched = NULL;

    if (client_document_read(new, client_id, &document, failure) &&
        client_document_check_name(&document, failure))
        patched = update_locked(connection, guard, locked, client_id, &document.change, failure);
    json_decref(old);
    json_decref(new);
    return patched;
}

PGresult *client_store_patch(PGconn *connection, const struct guard *guard, const char *client_id,
                             const json_t *patch, struct store_failure *failure)
{
    PGresult *locked = NULL, *patched = NULL;
    bool own = false;

    if (client_store_check_id(client_id, failure) && store_begin_own(connection, &own, failure) &&
        (locked = lock_client(connection, guard, client_id, failure)) != NULL)
        patched = patch_locked(connection, guard, locked, client_id, patch, failure);
    PQclear(locked);
    return commit_own(connection, own, patched, failure);
}

PGresult *client_store_enable(PGconn *connection, const char *client_id, bool is_enabled,
                              struct store_failure *failure)
{
    const struct client_change change = {.is_enabled = &is_enabled};

    return client_store_update(connection, NULL, client_id, &change, failure);
}

/* Runs a statement on a client that the caller may touch. */
static PGresult *change_client(PGconn *connection, const struct guard *guard, const char *client_id,
                               const char *sql, struct store_failure *failure)
{
    PGresult *locked = NULL, *changed = NULL;
    bool own = false;

    if (store_begin_own(connection, &own, failure) &&
        (locked = lock_client(connection, guard, client_id, failure)) != NULL)
        changed = store_query(connection, sql, 1, &client_id, failure);
    PQclear(locked);
    return commit_own(connection, own, changed, failure);
}

PGresult *client_store_revoke_tokens(PGconn *connection, const struct guard *guard,
                                     const char *client_id, struct store_failure *failure)
{
    return change_client(connection, guard, client_id,
                         "UPDATE clients SET tokens_valid_from ="
                         " greatest(tokens_valid_from, interval '1 millisecond'"
                         "  + date_trunc('milliseconds', clock_timestamp()))"
                         " WHERE client_id = $1 RETURNING " COLUMNS,
                         failure);
}

PGresult *client_store_delete(PGconn *connection, const struct guard *guard, const char *client_id,
                              struct store_failure *failure)
{
    return change_client(connection, guard, client_id,
                         "DELETE FROM clients WHERE client_id = $1 RETURNING " COLUMNS, failure);
}

/* Secrets */

static bool add_secret(PGconn *connection, const char *client_id,
                       const struct client_secret_given *given, struct client_made *made,
                       struct store_failure *failure)
{
    if (given == NULL)
        return secret_store_add(connection, client_id, made->secret, made->secret_id, failure);
    return given->digest == NULL ||
           secret_store_add_digest(connection, client_id, given->digest, made->secret_id, failure);
}

bool client_store_create(PGconn *connection, const struct guard *guard, const char *client_id,
                         const struct client_change *change,
                         const struct client_secret_given *given, struct client_made *made,
                         struct store_failure *failure)
{
    char made_id[IDENTITY_MADE_SIZE];
    bool own = false;

    *made = (struct client_made){0};
    if (client_id == NULL && !identity_make(made_id, failure))
        return false;
    if (client_id == NULL)
        client_id = made_id;
    return client_store_check_id(client_id, failure) &&
           store_begin_own(connection, &own, failure) &&
           (made->client = insert_client(connection, guard, client_id, change, failure)) != NULL &&
           add_secret(connection, client_id, given, made, failure) &&
           store_commit_own(connection, own, failure);
}

bool client_store_rotate(PGconn *connection, const struct guard *guard, const char *client_id,
                         long long overlap_s, const struct client_secret_given *given,
                         struct client_made *made, struct store_failure *failure)
{
    bool own = false;

    *made = (struct client_made){0};
    if (overlap_s < 0 || overlap_s > CLIENT_STORE_OVERLAP_MAX_S)
        return store_fail(failure, STORE_INVALID, "/overlap",
                          "an overlap is a whole number of seconds from 0 to %d",
                          CLIENT_STORE_OVERLAP_MAX_S);
    return store_begin_own(connection, &own, failure) &&
           (made->client = lock_client(connection, guard, client_id, failure)) != NULL &&
           secret_store_end_old(connection, client_id, overlap_s, failure) &&
           (made->old = secret_store_list(connection, client_id, failure)) != NULL &&
           add_secret(connection, client_id, given, made, failure) &&
           store_commit_own(connection, own, failure);
}

bool client_store_keep_secret(PGconn *connection, const struct guard *guard, const char *client_id,
                              const struct secret_digest *digest, bool *is_new,
                              struct store_failure *failure)
{
    PGresult *client = NULL;
    bool own = false;
    bool kept = store_begin_own(connection, &own, failure) &&
                (client = lock_client(connection, guard, client_id, failure)) != NULL &&
                secret_store_keep(connection, client_id, digest, is_new, failure) &&
                store_commit_own(connection, own, failure);

    PQclear(client);
    return kept;
}

PGresult *client_store_revoke_secret(PGconn *connection, const struct guard *guard,
                                     const char *client_id, const char *secret_id,
                                     struct store_failure *failure)
{
    PGresult *client = NULL, *left = NULL;
    bool own = false;

    if (store_begin_own(connection, &own, failure) &&
        (client = lock_client(connection, guard, client_id, failure)) != NULL &&
        secret_store_delete(connection, client_id, secret_id, failure))
        left = secret_store_list(connection, client_id, failure);
    PQclear(client);
    return commit_own(connection, own, left, failure);
}

bool client_store_invalidate(PGconn *connection, const char *client_id,
                             struct store_failure *failure)
{
    const char *const values[] = {client_id != NULL ? client_id : "*"};
    PGresult *told =
        store_query(connection, "SELECT pg_notify('jotd_client', $1)", 1, values, failure);

    PQclear(told);
    return told != NULL;
}

void client_store_forget(struct client_made *made)
{
    PQclear(made->client);
    PQclear(made->old);
    OPENSSL_cleanse(made, sizeof(*made));
}
