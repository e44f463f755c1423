#include "auth/endpoint/admin/tokens.h"

#include "auth/store/client_store.h"
#include "auth/store/document.h"
#include "auth/store/token_store.h"

/* Of a client */

static bool check_after(const char *after, struct store_failure *failure)
{
    struct uuid jti;

    return after == NULL || uuid_parse(slice_of(after), &jti) ||
           store_fail(failure, STORE_INVALID, "", "after is what `next` was");
}

static bool list(struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *client = NULL, *tokens = NULL;
    json_t *items;
    int count;

    if (client_store_check_id(call->parts[0], failure) && check_after(call->after, failure) &&
        (client = client_store_find(connection, call->parts[0], failure)) != NULL)
        tokens =
            token_store_list(connection, call->parts[0], call->after, call->limit + 1, failure);
    PQclear(client);
    if (tokens == NULL)
        return false;
    items = json_array();
    count = PQntuples(tokens) > call->limit ? (int)call->limit : PQntuples(tokens);
    for (int row = 0; row != count; ++row) {
        struct token_values token = token_store_values(tokens, (size_t)row);

        json_array_append_new(items, token_store_document(&token));
    }
    call_answer_page(call, items,
                     PQntuples(tokens) > count ? token_store_values(tokens, (size_t)count - 1).jti
                                               : NULL);
    PQclear(tokens);
    return true;
}

/* As `jotd client revoke-tokens`. */
static bool revoke_all(struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *client = NULL;

    if (client_store_check_id(call->parts[0], failure))
        client = client_store_revoke_tokens(connection, &call->guard, call->parts[0], failure);
    PQclear(client);
    return client != NULL;
}

const struct call_operation tokens_of_client_operations[] = {
    {.method = "GET", .scope = CALL_READ, .is_list = true, .run = list},
    {.method = "DELETE", .scope = CALL_WRITE, .run = revoke_all},
    {0},
};

/* One */

static bool read_jti(const struct call *call, struct uuid *jti, struct store_failure *failure)
{
    return uuid_parse(slice_of(call->parts[0]), jti) ||
           store_fail(failure, STORE_NOT_FOUND, "", "a jti is a UUID");
}

/* The path names the token, not the body. */
static bool point_nowhere(struct store_failure *failure)
{
    failure->pointer[0] = '\0';
    return false;
}

static bool show(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct token_values token;
    struct uuid jti;
    PGresult *found;

    if (!read_jti(call, &jti, failure))
        return false;
    if ((found = token_store_find(connection, &jti, failure)) == NULL)
        return point_nowhere(failure);
    token = token_store_values(found, 0);
    call_answer_object(call, token_store_document(&token), NULL);
    PQclear(found);
    return true;
}

const struct call_operation tokens_one_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = show},
    {0},
};

static bool revoke_one(struct call *call, PGconn *connection, struct store_failure *failure)
{
    static const char *const members[] = {"reason", NULL};
    static const char *const states[] = {[TOKEN_REVOKED] = "revoked",
                                         [TOKEN_REVOKED_BEFORE] = "revoked before",
                                         [TOKEN_EXPIRED] = "expired"};
    struct token_revocation_values token;
    const char *reason = NULL;
    struct uuid jti;
    PGresult *revoked;

    if (!document_check(call->body, members, failure) ||
        !document_text(call->body, "reason", &reason, failure) || !read_jti(call, &jti, failure) ||
        (revoked = token_store_revoke(connection, &call->guard, &jti, reason, failure)) == NULL)
        return false;
    token = token_store_revocation(revoked);
    call_answer_object(call,
                       json_pack("{s:s, s:s, s:s?, s:s}", "jti", token.jti, "state",
                                 states[token.state], "client_id", token.client_id, "expires_at",
                                 token.expires_at),
                       NULL);
    PQclear(revoked);
    return true;
}

const struct call_operation tokens_revoke_operations[] = {
    {.method = "POST",
     .scope = CALL_WRITE,
     .takes_body = true,
     .is_repeatable = true,
     .run = revoke_one},
    {0},
};
