#include "auth/store/token_store.h"

#include "common/clock.h"
#include "common/integer.h"

#define DAY_MS 86400000

bool token_store_check(const struct uuid *jti, struct store_failure *failure)
{
    if (jti->bytes[6] >> 4 != 7)
        return store_fail(failure, STORE_INVALID, "/jti",
                          "this is not the jti of a token: those are UUIDs of version 7");
    return uuid_v7_unix_ms(jti) <= clock_unix_ms() + DAY_MS ||
           store_fail(failure, STORE_INVALID, "/jti",
                      "no token has this jti yet: by the time inside, it is of the future");
}

static void format_jti(const struct uuid *jti, char text[UUID_TEXT_LENGTH + 1])
{
    uuid_format(jti, text);
    text[UUID_TEXT_LENGTH] = '\0';
}

enum {
    JTI,
    CLIENT_ID,
    ORGANIZATION,
    CREDENTIAL,
    TIER,
    SCOPE,
    AUDIENCE,
    KID,
    ISSUED_AT,
    EXPIRES_AT,
    REVOKED_AT,
    REASON,
    REVOKED_BY,
    INACTIVE,
    IS_KNOWN,
};

/* The order is that in which people would want to know. */
#define INACTIVE_SQL                                                                               \
    "CASE WHEN coalesce(t.expires_at, r.expires_at) <= now() THEN 'it has expired'"                \
    " WHEN r.jti IS NOT NULL THEN 'it was revoked'"                                                \
    " WHEN c.client_id IS NULL THEN 'its client was deleted'"                                      \
    " WHEN NOT c.enabled THEN 'its client is disabled'"                                            \
    " WHEN NOT o.enabled THEN 'the organization of its client is disabled'"                        \
    " WHEN c.tokens_valid_from > uuid_v7_time(t.jti) THEN"                                         \
    "  'the tokens of its client from before ' || " STORE_TIME_MS(                                 \
        "c.tokens_valid_from") " || '"                                                             \
                               " were revoked' END"
#define COLUMNS                                                                                    \
    "coalesce(t.client_id, nullif(r.client_id, '')),"                                              \
    " nullif(t.organization, ''), nullif(credential, ''), t.tier, nullif(scope, ''), audience,"    \
    " kid, " STORE_TIME("issued_at") ", " STORE_TIME("t.expires_at") ", " STORE_TIME(              \
        "revoked_at") ", nullif(reason, ''), nullif(r.actor, ''), " INACTIVE_SQL                   \
                      ", t.jti IS NOT NULL OR r.jti IS NOT NULL"
#define CLIENT_SQL                                                                                 \
    " LEFT JOIN clients c ON c.client_id = t.client_id"                                            \
    " LEFT JOIN organizations o ON o.organization_id = c.organization"
#define FIND_SQL                                                                                   \
    "SELECT $1::uuid, " COLUMNS " FROM (SELECT) AS one"                                            \
    " LEFT JOIN LATERAL (SELECT * FROM issued_token($1) LIMIT 1) t ON true"                        \
    " LEFT JOIN revoked_tokens r ON r.jti = $1" CLIENT_SQL
#define LIST_SQL                                                                                   \
    "SELECT t.jti, " COLUMNS " FROM (SELECT * FROM issued_tokens WHERE client_id = $1"             \
    "  AND ($2::uuid IS NULL OR (issued_at, jti) < (uuid_v7_time($2::uuid), $2::uuid))"            \
    "  ORDER BY issued_at DESC, jti DESC LIMIT $3::bigint) t"                                      \
    " LEFT JOIN revoked_tokens r ON r.jti = t.jti" CLIENT_SQL                                      \
    " ORDER BY t.issued_at DESC, t.jti DESC"

PGresult *token_store_list(PGconn *connection, const char *client_id, const char *after,
                           long long limit, struct store_failure *failure)
{
    char count[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {client_id, after, count};

    integer_write(limit, count);
    return store_query(connection, LIST_SQL, 3, values, failure);
}

PGresult *token_store_find(PGconn *connection, const struct uuid *jti,
                           struct store_failure *failure)
{
    char text[UUID_TEXT_LENGTH + 1];
    const char *const values[] = {text};
    PGresult *found;

    format_jti(jti, text);
    if (!token_store_check(jti, failure))
        return NULL;
    found = store_query(connection, FIND_SQL, 1, values, failure);
    if (found == NULL || *PQgetvalue(found, 0, IS_KNOWN) == 't')
        return found;
    PQclear(found);
    store_fail(failure, STORE_NOT_FOUND, "/jti",
               "the ledger has no token %s: it is recorded some seconds after it was issued, "
               "and for as long as its month is kept",
               text);
    return NULL;
}

struct token_values token_store_values(const PGresult *tokens, size_t row_number)
{
    int row = (int)row_number;

    return (struct token_values){
        .jti = store_text(tokens, row, JTI),
        .client_id = store_text(tokens, row, CLIENT_ID),
        .organization = store_text(tokens, row, ORGANIZATION),
        .credential = store_text(tokens, row, CREDENTIAL),
        .tier = store_text(tokens, row, TIER),
        .scope = store_text(tokens, row, SCOPE),
        .audience = store_text(tokens, row, AUDIENCE),
        .kid = store_text(tokens, row, KID),
        .issued_at = store_text(tokens, row, ISSUED_AT),
        .expires_at = store_text(tokens, row, EXPIRES_AT),
        .revoked_at = store_text(tokens, row, REVOKED_AT),
        .reason = store_text(tokens, row, REASON),
        .revoked_by = store_text(tokens, row, REVOKED_BY),
        .inactive_because = store_text(tokens, row, INACTIVE),
    };
}

/* A token that is not in the ledger yet may live for a day: what its text says of itself, nobody
 * has verified. */
#define REVOKE_SQL                                                                                 \
    "WITH token AS (SELECT $1::uuid AS jti, coalesce(l.client_id, '') AS client_id,"               \
    "  coalesce(l.expires_at, uuid_v7_time($1::uuid) + interval '1 day') AS expires_at"            \
    "  FROM (SELECT) AS one"                                                                       \
    "  LEFT JOIN LATERAL (SELECT client_id, expires_at FROM issued_token($1::uuid) LIMIT 1) l"     \
    "   ON true),"                                                                                 \
    " made AS (INSERT INTO revoked_tokens (jti, client_id, expires_at, reason)"                    \
    "  SELECT jti, client_id, expires_at, coalesce($2, '') FROM token WHERE expires_at > now()"    \
    "  ON CONFLICT DO NOTHING RETURNING 1)"                                                        \
    " SELECT jti, client_id, " STORE_TIME("expires_at") ", expires_at <= now(),"                   \
                                                        "  EXISTS (SELECT FROM made) FROM token"

/* Of a token that is not recorded, nobody knows the client. */
static bool check_guard(PGconn *connection, const struct guard *guard, const char *jti,
                        struct store_failure *failure)
{
    PGresult *client;
    bool may = true;

    if (guard == NULL || guard->governs)
        return true;
    client = store_query(connection,
                         "SELECT array_to_string(c.scopes, ' '), array_to_string(c.audiences, ' '),"
                         " array_to_string(c.introspect, ' ') FROM issued_token($1) t"
                         " JOIN clients c ON c.client_id = t.client_id LIMIT 1",
                         1, &jti, failure);
    if (client == NULL)
        return false;
    if (PQntuples(client) == 1)
        may = guard_check_client(guard,
                                 &(struct guard_client){PQgetvalue(client, 0, 0),
                                                        PQgetvalue(client, 0, 1),
                                                        PQgetvalue(client, 0, 2)},
                                 failure);
    PQclear(client);
    return may;
}

PGresult *token_store_revoke(PGconn *connection, const struct guard *guard, const struct uuid *jti,
                             const char *reason, struct store_failure *failure)
{
    char text[UUID_TEXT_LENGTH + 1];
    const char *const values[] = {text, reason};

    if (!token_store_check(jti, failure))
        return NULL;
    if (reason != NULL && !store_check_text(reason, 0, 200)) {
        store_fail(failure, STORE_INVALID, "/reason",
                   "a reason is at most 200 characters of UTF-8 without control characters");
        return NULL;
    }
    format_jti(jti, text);
    if (!check_guard(connection, guard, text, failure))
        return NULL;
    return store_query(connection, REVOKE_SQL, 2, values, failure);
}

struct token_revocation_values token_store_revocation(const PGresult *revoked)
{
    bool expired = *PQgetvalue(revoked, 0, 3) == 't', made = *PQgetvalue(revoked, 0, 4) == 't';

    return (struct token_revocation_values){
        .state = expired ? TOKEN_EXPIRED
                 : made  ? TOKEN_REVOKED
                         : TOKEN_REVOKED_BEFORE,
        .jti = store_text(revoked, 0, 0),
        .client_id = *PQgetvalue(revoked, 0, 1) != '\0' ? store_text(revoked, 0, 1) : NULL,
        .expires_at = store_text(revoked, 0, 2),
    };
}

json_t *token_store_document(const struct token_values *token)
{
    return json_pack(
        "{s:s, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:s?, s:b, s:s?}",
        "jti", token->jti, "client_id", token->client_id, "organization", token->organization,
        "credential", token->credential, "tier", token->tier, "scope", token->scope, "audience",
        token->audience, "kid", token->kid, "issued_at", token->issued_at, "expires_at",
        token->expires_at, "revoked_at", token->revoked_at, "reason", token->reason, "revoked_by",
        token->revoked_by, "active", token->inactive_because == NULL, "inactive_because",
        token->inactive_because);
}
