#include "auth/store/client_store.h"

#include <openssl/crypto.h>
#include <string.h>

#include "auth/store/identity.h"
#include "auth/store/organization_store.h"
#include "auth/store/secret_store.h"
#include "auth/store/tier_store.h"
#include "common/integer.h"

#define DEFAULT_TIER "free" /* of new clients */

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

PGresult *client_store_list(PGconn *connection, const struct client_filter *filter,
                            struct store_failure *failure)
{
    char limit[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {filter->tier, filter->organization, limit};

    integer_write(filter->limit, limit);
    if (!tier_store_check_exists(connection, filter->tier, failure) ||
        !organization_store_check_exists(connection, filter->organization, failure))
        return NULL;
    return store_query(connection,
                       "SELECT " COLUMNS " FROM clients"
                       " WHERE ($1::text IS NULL OR tier = $1)"
                       " AND ($2::text IS NULL OR organization = $2)"
                       " ORDER BY clients.created_at DESC, client_id"
                       " LIMIT nullif($3::bigint, 0)",
                       3, values, failure);
}

PGresult *client_store_find(PGconn *connection, const char *client_id,
                            struct store_failure *failure)
{
    return expect_client(store_query(connection,
                                     "SELECT " COLUMNS " FROM clients WHERE client_id = $1", 1,
                                     &client_id, failure),
                         client_id, failure);
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

/* Changing */

/* The parameters of the statements that set values; NULL is not given. */
#define PARAMETERS 10

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
    };

    memcpy(values, bound, sizeof(bound));
}

/* Merges an object of client_attributes into `old`, in one expression, so that two updates at once
 * both count. `value` makes jsonb of a value. */
#define MERGED(old, object, value)                                                                 \
    "((" old " - ARRAY(SELECT key FROM jsonb_each_text(" object "::jsonb) WHERE value IS NULL))"   \
    " || coalesce((SELECT jsonb_object_agg(key, " value ") FROM jsonb_each_text(" object           \
    "::jsonb) WHERE value IS NOT NULL), '{}'))"
#define LABELS_SQL     MERGED("labels", "$9", "value")
#define CLAIMS_SQL     MERGED("claims", "$10", "value::jsonb")
#define NEW_LABELS_SQL MERGED("'{}'::jsonb", "$9", "value")
#define NEW_CLAIMS_SQL MERGED("'{}'::jsonb", "$10", "value::jsonb")

static PGresult *update_client(PGconn *connection, const char *client_id,
                               const struct client_change *change,
                               const struct client_columns *columns, struct store_failure *failure)
{
    const char *values[PARAMETERS];

    if (!tier_store_check_exists(connection, change->tier, failure) ||
        !organization_store_check_exists(connection, change->organization, failure))
        return NULL;
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
                       " labels = " LABELS_SQL ", claims = " CLAIMS_SQL
                       " WHERE client_id = $1 RETURNING " COLUMNS,
                       PARAMETERS, values, failure);
}

PGresult *client_store_update(PGconn *connection, const char *client_id,
                              const struct client_change *change, struct store_failure *failure)
{
    struct client_columns columns;
    PGresult *updated = NULL;

    if (client_change_prepare(change, &columns, failure))
        updated = expect_client(update_client(connection, client_id, change, &columns, failure),
                                client_id, failure);
    client_change_dispose(&columns);
    return updated;
}

PGresult *client_store_enable(PGconn *connection, const char *client_id, bool is_enabled,
                              struct store_failure *failure)
{
    const char *const values[] = {client_id, is_enabled ? "true" : "false"};

    return expect_client(store_query(connection,
                                     "UPDATE clients SET enabled = $2::boolean"
                                     " WHERE client_id = $1 RETURNING " COLUMNS,
                                     2, values, failure),
                         client_id, failure);
}

PGresult *client_store_revoke_tokens(PGconn *connection, const char *client_id,
                                     struct store_failure *failure)
{
    return expect_client(store_query(connection,
                                     "UPDATE clients SET tokens_valid_from ="
                                     " greatest(tokens_valid_from, interval '1 millisecond'"
                                     "  + date_trunc('milliseconds', clock_timestamp()))"
                                     " WHERE client_id = $1 RETURNING " COLUMNS,
                                     1, &client_id, failure),
                         client_id, failure);
}

PGresult *client_store_delete(PGconn *connection, const char *client_id,
                              struct store_failure *failure)
{
    return expect_client(store_query(connection,
                                     "DELETE FROM clients WHERE client_id = $1 RETURNING " COLUMNS,
                                     1, &client_id, failure),
                         client_id, failure);
}

/* Secrets */

static bool insert_client(PGconn *connection, const char *client_id,
                          const struct client_change *change, struct client_made *made,
                          struct store_failure *failure)
{
    struct client_columns columns;
    const char *values[PARAMETERS];

    if (client_change_prepare(change, &columns, failure)) {
        bind_values(client_id, change, &columns, values);
        made->client = store_query(
            connection,
            "INSERT INTO clients (client_id, name, tier, scopes, audiences, token_ttl,"
            "  organization, introspect, labels, claims)"
            " VALUES ($1, $2, coalesce($3, '" DEFAULT_TIER "'),"
            "  coalesce(string_to_array($4, ' '), '{}'), coalesce(string_to_array($5, ' '), '{}'),"
            "  nullif($6::int, 0), nullif($7, ''), coalesce(string_to_array($8, ' '), '{}'),"
            "  " NEW_LABELS_SQL ", " NEW_CLAIMS_SQL ")"
            " ON CONFLICT (client_id) DO NOTHING RETURNING " COLUMNS,
            PARAMETERS, values, failure);
    }
    client_change_dispose(&columns);
    if (made->client != NULL && PQntuples(made->client) == 0)
        return store_fail(failure, STORE_CONFLICT, "/client_id", "there is a client %.64s already",
                          client_id);
    return made->client != NULL;
}

/* A trigger may have changed it. */
static bool reread_client(PGconn *connection, const char *client_id, struct client_made *made,
                          struct store_failure *failure)
{
    PQclear(made->client);
    made->client = client_store_find(connection, client_id, failure);
    return made->client != NULL;
}

bool client_store_create(PGconn *connection, const char *client_id,
                         const struct client_change *change, struct client_made *made,
                         struct store_failure *failure)
{
    char made_id[IDENTITY_MADE_SIZE];

    *made = (struct client_made){0};
    if (client_id == NULL && !identity_make(made_id, failure))
        return false;
    if (client_id == NULL)
        client_id = made_id;
    return client_store_check_id(client_id, failure) &&
           tier_store_check_exists(connection, change->tier != NULL ? change->tier : DEFAULT_TIER,
                                   failure) &&
           organization_store_check_exists(connection, change->organization, failure) &&
           store_execute(connection, "BEGIN", failure) &&
           insert_client(connection, client_id, change, made, failure) &&
           reread_client(connection, client_id, made, failure) &&
           secret_store_add(connection, client_id, made->secret, made->secret_id, failure) &&
           store_execute(connection, "COMMIT", failure);
}

/* Locks the client, so that its rotations run one at a time. NULL on failure. */
static PGresult *lock_client(PGconn *connection, const char *client_id,
                             struct store_failure *failure)
{
    return expect_client(store_query(connection,
                                     "SELECT " COLUMNS
                                     " FROM clients WHERE client_id = $1 FOR NO KEY UPDATE",
                                     1, &client_id, failure),
                         client_id, failure);
}

bool client_store_rotate(PGconn *connection, const char *client_id, long long overlap_s,
                         struct client_made *made, struct store_failure *failure)
{
    *made = (struct client_made){0};
    if (overlap_s < 0 || overlap_s > CLIENT_STORE_OVERLAP_MAX_S)
        return store_fail(failure, STORE_INVALID, "/overlap",
                          "an overlap is a whole number of seconds from 0 to %d",
                          CLIENT_STORE_OVERLAP_MAX_S);
    return store_execute(connection, "BEGIN", failure) &&
           (made->client = lock_client(connection, client_id, failure)) != NULL &&
           secret_store_end_old(connection, client_id, overlap_s, failure) &&
           (made->old = secret_store_list(connection, client_id, failure)) != NULL &&
           secret_store_add(connection, client_id, made->secret, made->secret_id, failure) &&
           store_execute(connection, "COMMIT", failure);
}

PGresult *client_store_revoke_secret(PGconn *connection, const char *client_id,
                                     const char *secret_id, struct store_failure *failure)
{
    PGresult *client = NULL, *left = NULL;

    if (store_execute(connection, "BEGIN", failure) &&
        (client = lock_client(connection, client_id, failure)) != NULL &&
        secret_store_delete(connection, client_id, secret_id, failure) &&
        (left = secret_store_list(connection, client_id, failure)) != NULL &&
        !store_execute(connection, "COMMIT", failure)) {
        PQclear(left);
        left = NULL;
    }
    PQclear(client);
    return left;
}

void client_store_forget(struct client_made *made)
{
    PQclear(made->client);
    PQclear(made->old);
    OPENSSL_cleanse(made, sizeof(*made));
}
