#include "auth/store/token_store.h"

#include <string.h>

#include "auth/client/client.h"
#include "common/integer.h"

bool token_store_check(const struct token_named *token, struct store_failure *failure)
{
    return token->jti.bytes[6] >> 4 == 7 ||
           store_fail(failure, STORE_INVALID, "/jti",
                      "this is not the jti of a token: those are UUIDs of version 7");
}

static void format_jti(const struct token_named *token, char text[UUID_TEXT_LENGTH + 1])
{
    uuid_format(&token->jti, text);
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
    REASON
};

PGresult *token_store_find(PGconn *connection, const struct token_named *token,
                           struct store_failure *failure)
{
    char jti[UUID_TEXT_LENGTH + 1];
    const char *const values[] = {jti};
    PGresult *found;

    format_jti(token, jti);
    if (!token_store_check(token, failure))
        return NULL;
    found = store_query(
        connection,
        "SELECT t.jti, t.client_id, organization, credential, tier, scope,"
        " audience, kid, " STORE_TIME("issued_at") ", " STORE_TIME("t.expires_at") ", " STORE_TIME(
            "revoked_at") ", reason"
                          " FROM issued_token($1) t LEFT JOIN revoked_tokens r USING (jti)",
        1, values, failure);
    if (found == NULL || PQntuples(found) != 0)
        return found;
    PQclear(found);
    store_fail(failure, STORE_NOT_FOUND, "/jti",
               "the ledger has no token %s: it is recorded some seconds after it was issued, "
               "and for as long as its month is kept",
               jti);
    return NULL;
}

struct token_values token_store_values(const PGresult *tokens)
{
    return (struct token_values){
        .jti = store_text(tokens, 0, JTI),
        .client_id = store_text(tokens, 0, CLIENT_ID),
        .organization = store_text(tokens, 0, ORGANIZATION),
        .credential = store_text(tokens, 0, CREDENTIAL),
        .tier = store_text(tokens, 0, TIER),
        .scope = store_text(tokens, 0, SCOPE),
        .audience = store_text(tokens, 0, AUDIENCE),
        .kid = store_text(tokens, 0, KID),
        .issued_at = store_text(tokens, 0, ISSUED_AT),
        .expires_at = store_text(tokens, 0, EXPIRES_AT),
        .revoked_at = store_text(tokens, 0, REVOKED_AT),
        .reason = store_text(tokens, 0, REASON),
    };
}

/* What the ledger says counts before what the token's text says, which nobody has verified. No
 * token lives longer than a day. */
#define REVOKE_SQL                                                                                 \
    "WITH token AS (SELECT $1::uuid AS jti, coalesce(l.client_id, $2, '') AS client_id,"           \
    "  coalesce(l.expires_at, least(to_timestamp($3::bigint), day.later), day.later)"              \
    "   AS expires_at"                                                                             \
    "  FROM (SELECT uuid_v7_time($1::uuid) + interval '1 day' AS later) day"                       \
    "  LEFT JOIN LATERAL (SELECT client_id, expires_at FROM issued_token($1::uuid) LIMIT 1) l"     \
    "   ON true),"                                                                                 \
    " made AS (INSERT INTO revoked_tokens (jti, client_id, expires_at, reason)"                    \
    "  SELECT jti, client_id, expires_at, coalesce($4, '') FROM token WHERE expires_at > now()"    \
    "  ON CONFLICT DO NOTHING RETURNING 1)"                                                        \
    " SELECT jti, client_id, " STORE_TIME("expires_at") ", expires_at <= now(),"                   \
                                                        "  EXISTS (SELECT FROM made) FROM token"

PGresult *token_store_revoke(PGconn *connection, const struct token_named *token,
                             const char *reason, struct store_failure *failure)
{
    char jti[UUID_TEXT_LENGTH + 1], expiry[INTEGER_LENGTH_MAX + 1] = "";
    bool known = token->client_id != NULL && client_id_is_valid(slice_of(token->client_id));
    const char *const values[] = {jti, known ? token->client_id : NULL,
                                  token->expires_at != 0 ? expiry : NULL, reason};

    if (!token_store_check(token, failure))
        return NULL;
    if (reason != NULL && !store_check_text(reason, 0, 200))
        return store_fail(failure, STORE_INVALID, "/reason",
                          "a reason is at most 200 characters of UTF-8 without control characters"),
               NULL;
    format_jti(token, jti);
    integer_write(token->expires_at, expiry);
    return store_query(connection, REVOKE_SQL, 4, values, failure);
}

struct token_revocation_values token_store_revocation(const PGresult *revoked)
{
    bool expired = *PQgetvalue(revoked, 0, 3) == 't', made = *PQgetvalue(revoked, 0, 4) == 't';

    return (struct token_revocation_values){
        .state = expired ? TOKEN_EXPIRED
                 : made  ? TOKEN_REVOKED
                         : TOKEN_REVOKED_BEFORE,
        .jti = store_text(revoked, 0, 0),
        .client_id = store_text(revoked, 0, 1),
        .expires_at = store_text(revoked, 0, 2),
    };
}
