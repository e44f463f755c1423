#include "auth/store/client_store.h"

#include <openssl/crypto.h>

#include "auth/store/identity.h"
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
    "client_id, name, tier, enabled, array_to_string(scopes, ' ') AS scope,"                       \
    " array_to_string(audiences, ' ') AS audiences, token_ttl, " STORE_TIME(                       \
        "created_at") " AS created_at, " STORE_TIME("updated_at") " AS updated_at"

enum { ID, NAME, TIER, ENABLED, SCOPE, AUDIENCES, TOKEN_TTL, CREATED_AT, UPDATED_AT };

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

PGresult *client_store_list(PGconn *connection, const char *tier, long long limit,
                            struct store_failure *failure)
{
    char limit_text[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {tier, limit_text};

    integer_write(limit, limit_text);
    if (!tier_store_check_exists(connection, tier, failure))
        return NULL;
    return store_query(connection,
                       "SELECT " COLUMNS " FROM clients WHERE $1::text IS NULL OR tier = $1"
                       " ORDER BY clients.created_at DESC, client_id"
                       " LIMIT nullif($2::bigint, 0)",
                       2, values, failure);
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

PGresult *client_store_update(PGconn *connection, const char *client_id,
                              const struct client_change *change, struct store_failure *failure)
{
    char ttl[INTEGER_LENGTH_MAX + 1] = "";
    struct client_columns columns;
    const char *values[] = {client_id,
                            change->name,
                            change->tier,
                            change->scope != NULL ? columns.scope : NULL,
                            change->audience_count != 0 ? columns.audiences : NULL,
                            change->token_ttl_s != NULL ? ttl : NULL};

    if (!client_change_prepare(change, &columns, failure) ||
        !tier_store_check_exists(connection, change->tier, failure))
        return NULL;
    if (change->token_ttl_s != NULL)
        integer_write(*change->token_ttl_s, ttl);
    return expect_client(
        store_query(connection,
                    "UPDATE clients SET name = coalesce($2, name), tier = coalesce($3, tier),"
                    " scopes = coalesce(string_to_array($4, ' '), scopes),"
                    " audiences = coalesce(string_to_array($5, ' '), audiences),"
                    " token_ttl = CASE WHEN $6::int IS NULL THEN token_ttl"
                    "  ELSE nullif($6::int, 0) END"
                    " WHERE client_id = $1 RETURNING " COLUMNS,
                    6, values, failure),
        client_id, failure);
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
    char ttl[INTEGER_LENGTH_MAX + 1] = "";
    struct client_columns columns;
    const char *const values[] = {client_id,         change->name,
                                  change->tier,      columns.scope,
                                  columns.audiences, change->token_ttl_s != NULL ? ttl : NULL};

    if (!client_change_prepare(change, &columns, failure))
        return false;
    if (change->token_ttl_s != NULL)
        integer_write(*change->token_ttl_s, ttl);
    made->client =
        store_query(connection,
                    "INSERT INTO clients (client_id, name, tier, scopes, audiences, token_ttl)"
                    " VALUES ($1, $2, coalesce($3, '" DEFAULT_TIER "'), string_to_array($4, ' '),"
                    " string_to_array($5, ' '), nullif($6::int, 0))"
                    " ON CONFLICT (client_id) DO NOTHING RETURNING " COLUMNS,
                    6, values, failure);
    if (made->client != NULL && PQntuples(made->client) == 0)
        return store_fail(failure, STORE_CONFLICT, "/client_id", "there is a client %.64s already",
                          client_id);
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
           store_execute(connection, "BEGIN", failure) &&
           insert_client(connection, client_id, change, made, failure) &&
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
