#include "auth/endpoint/admin/clients.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/store/client_store.h"
#include "auth/store/document.h"

/* Lists */

static const char *const filters[] = {"q",     "tier",   "organization", "enabled",
                                      "scope", "label.", "unused_since", "expires_before",
                                      NULL};

static bool list(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct client_filter filter = {
        .tier = call_value(call, "tier"),
        .organization = call_value(call, "organization"),
        .text = call_value(call, "q"),
        .scope = call_value(call, "scope"),
        .unused_since = call_value(call, "unused_since"),
        .expires_before = call_value(call, "expires_before"),
        .after = call->after,
        .by_id = true,
        .limit = call->limit + 1,
    };
    char *labels = call->labels != NULL ? json_dumps(call->labels, JSON_COMPACT) : NULL;
    PGresult *clients = NULL;
    json_t *items;
    bool is_enabled;
    int count;

    filter.labels = labels;
    if (call_boolean(call, "enabled", &is_enabled, &filter.is_enabled, failure) &&
        call_check_time(filter.unused_since, "unused_since", failure) &&
        call_check_time(filter.expires_before, "expires_before", failure) &&
        (call->after == NULL || client_store_check_id(call->after, failure)))
        clients = client_store_list(connection, &filter, failure);
    free(labels);
    if (clients == NULL)
        return false;
    items = json_array();
    count = PQntuples(clients) > call->limit ? (int)call->limit : PQntuples(clients);
    for (int row = 0; row != count; ++row) {
        struct client_values client = client_store_values(clients, (size_t)row);

        json_array_append_new(items, client_document(&client));
    }
    call_answer_page(call, items,
                     PQntuples(clients) > count
                         ? client_store_values(clients, (size_t)count - 1).client_id
                         : NULL);
    PQclear(clients);
    return true;
}

/* Making */

/* The members of the body that are not the client's own. Removes them from `body`. */
struct request {
    const char *client_id; /* NULL: one is made */
    const char *sha256;    /* NULL: none */
    bool wants_secret;
    json_t *body; /* the rest; owned */
};

static bool read_request(const json_t *body, struct request *request, struct store_failure *failure)
{
    *request = (struct request){.wants_secret = true};
    if (!json_is_object(body))
        return store_fail(failure, STORE_INVALID, "", "a JSON object is wanted");
    if (!document_text(body, "client_id", &request->client_id, failure) ||
        !document_text(body, "sha256", &request->sha256, failure) ||
        !document_boolean(body, "secret", &request->wants_secret, failure))
        return false;
    if (request->sha256 != NULL && json_object_get(body, "secret") != NULL)
        return store_fail(failure, STORE_INVALID, "/secret", "give sha256 or secret, not both");
    request->body = json_copy((json_t *)body);
    json_object_del(request->body, "sha256");
    json_object_del(request->body, "secret");
    return true;
}

static bool make(struct call *call, PGconn *connection, const struct request *request,
                 struct client_made *made, struct store_failure *failure)
{
    struct client_document document;
    struct secret_digest digest;
    const struct client_secret_given given = {request->sha256 != NULL ? &digest : NULL};
    bool has_given = request->sha256 != NULL || !request->wants_secret;

    return client_document_read(request->body, request->client_id, &document, failure) &&
           (request->sha256 == NULL ||
            secret_store_read_sha256(request->sha256, &digest, failure)) &&
           client_store_create(connection, &call->guard, request->client_id, &document.change,
                               has_given ? &given : NULL, made, failure);
}

static bool create(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct request request;
    struct client_made made = {0};
    bool done = read_request(call->body, &request, failure) &&
                make(call, connection, &request, &made, failure);

    if (done) {
        struct client_values client = client_store_values(made.client, 0);
        json_t *object = client_document(&client);

        if (*made.secret_id != '\0')
            json_object_set_new(object, "secret_id", json_string(made.secret_id));
        if (*made.secret != '\0')
            json_object_set_new(object, "client_secret", json_string(made.secret));
        call->status = 201;
        call_answer_object(call, object, client.version);
        call_set_location(call, "clients", client.client_id);
    }
    json_decref(request.body);
    client_store_forget(&made);
    return done;
}

const struct call_operation clients_operations[] = {
    {.method = "GET", .scope = CALL_READ, .parameters = filters, .is_list = true, .run = list},
    {.method = "POST",
     .scope = CALL_WRITE,
     .takes_body = true,
     .is_repeatable = true,
     .run = create},
    {0},
};

/* One */

/* Answers with the client, and frees it; false for NULL. */
static bool answer_client(struct call *call, PGresult *clients)
{
    struct client_values client;

    if (clients == NULL)
        return false;
    client = client_store_values(clients, 0);
    call_answer_object(call, client_document(&client), client.version);
    PQclear(clients);
    return true;
}

static bool show(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return client_store_check_id(call->parts[0], failure) &&
           answer_client(call, client_store_find(connection, call->parts[0], failure));
}

static bool put(struct call *call, PGconn *connection, struct store_failure *failure)
{
    bool was_made = false;

    if (!answer_client(call, client_store_put(connection, &call->guard, call->parts[0], call->body,
                                              &was_made, failure)))
        return false;
    if (was_made) {
        call->status = 201;
        call_set_location(call, "clients", call->parts[0]);
    }
    return true;
}

static bool patch(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return answer_client(call, client_store_patch(connection, &call->guard, call->parts[0],
                                                  call->body, failure));
}

static bool delete (struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *deleted = NULL;

    if (client_store_check_id(call->parts[0], failure))
        deleted = client_store_delete(connection, &call->guard, call->parts[0], failure);
    PQclear(deleted);
    return deleted != NULL;
}

const struct call_operation clients_one_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = show},
    {.method = "PUT", .scope = CALL_WRITE, .takes_body = true, .has_version = true, .run = put},
    {.method = "PATCH", .scope = CALL_WRITE, .takes_body = true, .has_version = true, .run = patch},
    {.method = "DELETE", .scope = CALL_WRITE, .has_version = true, .run = delete},
    {0},
};
