#include "auth/store/client_store.h"

#include <ctype.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "auth/client/scope.h"
#include "auth/store/tier_store.h"
#include "common/integer.h"

#define DEFAULT_TIER   "free" /* of new clients */
#define MADE_ID_LENGTH 20

/* Rules */

bool client_store_check_id(const char *client_id, struct store_failure *failure)
{
    return client_id_is_valid(slice_of(client_id)) ||
           store_fail(failure, STORE_INVALID, "/client_id",
                      "a client id is 1 to %d characters of A-Z a-z 0-9 . _ -", CLIENT_ID_MAX);
}

static bool check_name(const char *name, struct store_failure *failure)
{
    return store_check_text(name, 1, CLIENT_STORE_NAME_MAX) ||
           store_fail(failure, STORE_INVALID, "/name",
                      "a name is 1 to %d characters of UTF-8 without control characters",
                      CLIENT_STORE_NAME_MAX);
}

static bool check_scope(const char *text, struct store_failure *failure)
{
    struct slice scope = slice_of(text);

    return scope.length == 0 || (scope.length <= SCOPE_MAX && scope_is_valid(scope)) ||
           store_fail(
               failure, STORE_INVALID, "/scope",
               "a scope is at most %d bytes of tokens separated by single spaces; a token is "
               "printable ASCII without space, \" and \\",
               SCOPE_MAX);
}

/* RFC 8707 2: an absolute URI (RFC 3986 4.3), or a URN, without a fragment. */
static bool is_absolute_uri(const char *text)
{
    size_t scheme =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return isalpha((unsigned char)text[0]) && text[scheme] == ':' && text[scheme + 1] != '\0' &&
           strchr(text, '#') == NULL;
}

/* An audience is limited to the characters of a scope token, so that audiences can be joined like
 * those. */
static bool check_audience(const char *audience, struct store_failure *failure)
{
    if (*audience == '\0')
        return true;
    if (strlen(audience) > CLIENT_AUDIENCE_MAX || !scope_is_valid(slice_of(audience)) ||
        strchr(audience, ' ') != NULL)
        return store_fail(failure, STORE_INVALID, "/audiences",
                          "an audience is a URI of at most %d bytes: printable ASCII without "
                          "space, \" and \\",
                          CLIENT_AUDIENCE_MAX);
    return is_absolute_uri(audience) ||
           store_fail(failure, STORE_INVALID, "/audiences",
                      "an audience is an absolute URI without a fragment, such as "
                      "https://api.example.com or urn:example:api");
}

/* A client's scope and audiences, separated by spaces as they are stored. */
struct lists {
    char scope[SCOPE_MAX + 1];
    char audiences[CLIENT_MAX_AUDIENCES * (CLIENT_AUDIENCE_MAX + 1)];
};

/* Removes duplicate tokens. */
static void join_scope(const char *text, char scope[SCOPE_MAX + 1])
{
    struct slice given = slice_of(text), tokens[SCOPE_TOKENS_MAX];
    size_t length = 0;

    scope_sort(given, tokens);
    if (!scope_grant(given, tokens, scope_count(given), scope, &length))
        length = 0; /* not reached: it grants itself */
    scope[length] = '\0';
}

/* Joins the audiences without duplicates; false if there are too many. */
static bool join_audiences(const struct client_change *change, struct lists *lists,
                           struct store_failure *failure)
{
    size_t length = 0, count = 0;

    lists->audiences[0] = '\0';
    for (size_t i = 0; i != change->audience_count; ++i) {
        struct slice audience = slice_of(change->audiences[i]);

        if (audience.length == 0 || scope_has((struct slice){lists->audiences, length}, audience))
            continue;
        if (count++ == CLIENT_MAX_AUDIENCES)
            return store_fail(failure, STORE_INVALID, "/audiences",
                              "a client has at most %d audiences", CLIENT_MAX_AUDIENCES);
        if (length != 0)
            lists->audiences[length++] = ' ';
        memcpy(lists->audiences + length, audience.bytes, audience.length + 1);
        length += audience.length;
    }
    return true;
}

/* Validates the change and builds the lists. Needs no connection. */
static bool prepare(const struct client_change *change, struct lists *lists,
                    struct store_failure *failure)
{
    if (change->name != NULL && !check_name(change->name, failure))
        return false;
    if (change->scope != NULL && !check_scope(change->scope, failure))
        return false;
    for (size_t i = 0; i != change->audience_count; ++i) {
        if (!check_audience(change->audiences[i], failure))
            return false;
    }
    if (change->token_ttl_s != NULL &&
        (*change->token_ttl_s < 0 || *change->token_ttl_s > CLIENT_MAX_TTL_S))
        return store_fail(failure, STORE_INVALID, "/token_ttl",
                          "a token_ttl is a whole number from 0 to %d", CLIENT_MAX_TTL_S);
    join_scope(change->scope != NULL ? change->scope : "", lists->scope);
    return join_audiences(change, lists, failure);
}

bool client_store_check(const struct client_change *change, struct store_failure *failure)
{
    struct lists lists;

    return prepare(change, &lists, failure);
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

struct secret_values client_store_secret(const PGresult *secrets, size_t row_number)
{
    int row = (int)row_number;

    return (struct secret_values){
        .secret_id = store_text(secrets, row, 0),
        .created_at = store_text(secrets, row, 1),
        .expires_at = store_text(secrets, row, 2),
        .is_live = *PQgetvalue(secrets, row, 3) == 't',
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

PGresult *client_store_secrets(PGconn *connection, const char *client_id,
                               struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT secret_id, " STORE_TIME("created_at") ", " STORE_TIME(
                           "expires_at") ", expires_at IS NULL OR expires_at > now()"
                                         " FROM client_secrets s WHERE client_id = $1"
                                         " ORDER BY s.created_at DESC, secret_id",
                       1, &client_id, failure);
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
    struct lists lists;
    const char *values[] = {client_id,
                            change->name,
                            change->tier,
                            change->scope != NULL ? lists.scope : NULL,
                            change->audience_count != 0 ? lists.audiences : NULL,
                            change->token_ttl_s != NULL ? ttl : NULL};

    if (!prepare(change, &lists, failure) ||
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

/* Skips bytes from the last multiple of 36 on, which would favour some of the 36 characters. */
static bool make_id(char id[MADE_ID_LENGTH + 1])
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t length = 0;
    unsigned char byte;

    while (length != MADE_ID_LENGTH) {
        if (RAND_bytes(&byte, 1) != 1)
            return false;
        if (byte < 252)
            id[length++] = characters[byte % 36];
    }
    id[length] = '\0';
    return true;
}

/* PostgreSQL sees only the digest, sent in binary. */
static bool add_secret(PGconn *connection, const char *client_id, struct client_made *made,
                       struct store_failure *failure)
{
    struct secret_digest digest;
    const char *values[] = {client_id, (const char *)digest.bytes};
    const int lengths[] = {0, SECRET_DIGEST_LENGTH}, formats[] = {0, 1};
    PGresult *id;

    if (!secret_make(made->secret))
        return store_fail(failure, STORE_UNAVAILABLE, "", "the system gives no random bytes");
    secret_digest(slice_of(made->secret), &digest);
    id = store_check(connection,
                     PQexecParams(connection,
                                  "INSERT INTO client_secrets (client_id, digest)"
                                  " VALUES ($1, $2) RETURNING secret_id",
                                  2, NULL, values, lengths, formats, 0),
                     failure);
    if (id != NULL)
        snprintf(made->secret_id, sizeof(made->secret_id), "%s", PQgetvalue(id, 0, 0));
    PQclear(id);
    return id != NULL;
}

static bool insert_client(PGconn *connection, const char *client_id,
                          const struct client_change *change, struct client_made *made,
                          struct store_failure *failure)
{
    char ttl[INTEGER_LENGTH_MAX + 1] = "";
    struct lists lists;
    const char *const values[] = {client_id,       change->name,
                                  change->tier,    lists.scope,
                                  lists.audiences, change->token_ttl_s != NULL ? ttl : NULL};

    if (!prepare(change, &lists, failure))
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
    char made_id[MADE_ID_LENGTH + 1];

    *made = (struct client_made){0};
    if (client_id == NULL && !make_id(made_id))
        return store_fail(failure, STORE_UNAVAILABLE, "", "the system gives no random bytes");
    if (client_id == NULL)
        client_id = made_id;
    return client_store_check_id(client_id, failure) &&
           tier_store_check_exists(connection, change->tier != NULL ? change->tier : DEFAULT_TIER,
                                   failure) &&
           store_execute(connection, "BEGIN", failure) &&
           insert_client(connection, client_id, change, made, failure) &&
           add_secret(connection, client_id, made, failure) &&
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

static bool run_statement(PGconn *connection, const char *sql, int count, const char *const *values,
                          struct store_failure *failure)
{
    PGresult *result = store_query(connection, sql, count, values, failure);

    PQclear(result);
    return result != NULL;
}

/* Deletes expired secrets, and the oldest if there are too many; the others expire after the
 * overlap. */
static bool end_old(PGconn *connection, const char *client_id, long long overlap_s,
                    struct store_failure *failure)
{
    char overlap[INTEGER_LENGTH_MAX + 1] = "", kept[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {client_id, overlap};
    const char *const keep_values[] = {client_id, kept};

    integer_write(overlap_s, overlap);
    integer_write(CLIENT_MAX_SECRETS - 1, kept);
    return run_statement(connection,
                         "DELETE FROM client_secrets WHERE client_id = $1 AND digest NOT IN"
                         " (SELECT digest FROM client_secrets WHERE client_id = $1"
                         " AND (expires_at IS NULL OR expires_at > now())"
                         " ORDER BY created_at DESC LIMIT $2::int)",
                         2, keep_values, failure) &&
           run_statement(connection,
                         "UPDATE client_secrets SET expires_at ="
                         " least(expires_at, now() + $2::bigint * interval '1 second')"
                         " WHERE client_id = $1",
                         2, values, failure);
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
           end_old(connection, client_id, overlap_s, failure) &&
           (made->old = client_store_secrets(connection, client_id, failure)) != NULL &&
           add_secret(connection, client_id, made, failure) &&
           store_execute(connection, "COMMIT", failure);
}

static bool delete_secret(PGconn *connection, const char *client_id, const char *secret_id,
                          struct store_failure *failure)
{
    const char *const values[] = {client_id, secret_id};
    PGresult *deleted =
        store_query(connection,
                    "DELETE FROM client_secrets WHERE client_id = $1 AND secret_id = $2", 2, values,
                    failure);
    bool done = deleted != NULL && strcmp(PQcmdTuples(deleted), "1") == 0;

    if (deleted != NULL && !done)
        store_fail(failure, STORE_NOT_FOUND, "/secret_id", "the client %.64s has no such secret",
                   client_id);
    PQclear(deleted);
    return done;
}

PGresult *client_store_revoke_secret(PGconn *connection, const char *client_id,
                                     const char *secret_id, struct store_failure *failure)
{
    PGresult *client = NULL, *left = NULL;

    if (store_execute(connection, "BEGIN", failure) &&
        (client = lock_client(connection, client_id, failure)) != NULL &&
        delete_secret(connection, client_id, secret_id, failure) &&
        (left = client_store_secrets(connection, client_id, failure)) != NULL &&
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
