#include "auth/endpoint/admin/secrets.h"

#include "auth/store/client_store.h"
#include "auth/store/document.h"
#include "auth/store/secret_store.h"

static bool list(struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *client = NULL, *secrets = NULL;

    if (client_store_check_id(call->parts[0], failure) &&
        (client = client_store_find(connection, call->parts[0], failure)) != NULL)
        secrets = secret_store_list_used(connection, call->parts[0], failure);
    PQclear(client);
    if (secrets == NULL)
        return false;
    call_answer_page(call, secret_store_documents_used(secrets), NULL);
    PQclear(secrets);
    return true;
}

/* As `jotd client rotate`: the others end after the overlap. */
static bool create(struct call *call, PGconn *connection, struct store_failure *failure)
{
    static const char *const members[] = {"overlap", "sha256", NULL};
    long long overlap_s = CLIENT_STORE_OVERLAP_S;
    struct secret_digest digest;
    const struct client_secret_given given = {&digest};
    const char *sha256 = NULL;
    struct client_made made = {0};
    json_t *object;
    bool done = client_store_check_id(call->parts[0], failure) &&
                document_check(call->body, members, failure) &&
                document_integer(call->body, "overlap", &overlap_s, failure) &&
                document_text(call->body, "sha256", &sha256, failure) &&
                (sha256 == NULL || secret_store_read_sha256(sha256, &digest, failure)) &&
                client_store_rotate(connection, &call->guard, call->parts[0], overlap_s,
                                    sha256 != NULL ? &given : NULL, &made, failure);

    if (done) {
        object = json_pack("{s:s, s:s, s:o}", "client_id", call->parts[0], "secret_id",
                           made.secret_id, "old_secrets", secret_store_documents(made.old));
        if (*made.secret != '\0')
            json_object_set_new(object, "client_secret", json_string(made.secret));
        call->status = 201;
        call_answer_object(call, object, NULL);
        snprintf(call->location, sizeof(call->location), "/admin/v1/clients/%s/secrets/%s",
                 call->parts[0], made.secret_id);
    }
    client_store_forget(&made);
    return done;
}

const struct call_operation secrets_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = list},
    {.method = "POST",
     .scope = CALL_WRITE,
     .takes_body = true,
     .is_repeatable = true,
     .run = create},
    {0},
};

static bool delete (struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *left = NULL;

    if (client_store_check_id(call->parts[0], failure))
        left = client_store_revoke_secret(connection, &call->guard, call->parts[0], call->parts[1],
                                          failure);
    if (left == NULL && failure->kind == STORE_NOT_FOUND)
        failure->pointer[0] = '\0'; /* the path names it, not the body */
    PQclear(left);
    return left != NULL;
}

const struct call_operation secrets_one_operations[] = {
    {.method = "DELETE", .scope = CALL_WRITE, .run = delete},
    {0},
};
