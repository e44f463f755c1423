#include "auth/endpoint/admin/organizations.h"

#include "auth/store/document.h"
#include "auth/store/organization_store.h"

static const char *const filters[] = {"q", "tier", "enabled", NULL};

static bool list(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct organization_filter filter = {.tier = call_value(call, "tier"),
                                         .text = call_value(call, "q"),
                                         .after = call->after,
                                         .by_id = true,
                                         .limit = call->limit + 1};
    PGresult *organizations = NULL;
    json_t *items;
    bool is_enabled;
    int count;

    if (call_boolean(call, "enabled", &is_enabled, &filter.is_enabled, failure) &&
        (call->after == NULL || organization_store_check_id(call->after, failure)))
        organizations = organization_store_list(connection, &filter, failure);
    if (organizations == NULL)
        return false;
    items = json_array();
    count = PQntuples(organizations) > call->limit ? (int)call->limit : PQntuples(organizations);
    for (int row = 0; row != count; ++row) {
        struct organization_values values = organization_store_values(organizations, (size_t)row);

        json_array_append_new(items, organization_store_document(&values));
    }
    call_answer_page(
        call, items,
        PQntuples(organizations) > count
            ? organization_store_values(organizations, (size_t)count - 1).organization_id
            : NULL);
    PQclear(organizations);
    return true;
}

/* Answers with the organization, and frees it; false for NULL. */
static bool answer_one(struct call *call, PGresult *organizations, bool was_made)
{
    struct organization_values values;

    if (organizations == NULL)
        return false;
    values = organization_store_values(organizations, 0);
    call_answer_object(call, organization_store_document(&values), values.version);
    if (was_made) {
        call->status = 201;
        call_set_location(call, "organizations", values.organization_id);
    }
    PQclear(organizations);
    return true;
}

static bool create(struct call *call, PGconn *connection, struct store_failure *failure)
{
    struct organization_change change;
    const char *id = NULL;
    bool is_enabled;

    return document_text(call->body, "organization_id", &id, failure) &&
           organization_store_read(call->body, id, &change, &is_enabled, failure) &&
           answer_one(call,
                      organization_store_create(connection, &call->guard, id, &change, failure),
                      true);
}

const struct call_operation organizations_operations[] = {
    {.method = "GET", .scope = CALL_READ, .parameters = filters, .is_list = true, .run = list},
    {.method = "POST",
     .scope = CALL_ADMIN,
     .takes_body = true,
     .is_repeatable = true,
     .run = create},
    {0},
};

static bool show(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return organization_store_check_id(call->parts[0], failure) &&
           answer_one(call, organization_store_find(connection, call->parts[0], failure), false);
}

static bool put(struct call *call, PGconn *connection, struct store_failure *failure)
{
    bool was_made = false;
    PGresult *changed = organization_store_put(connection, &call->guard, call->parts[0], call->body,
                                               &was_made, failure);

    return answer_one(call, changed, was_made);
}

static bool patch(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return answer_one(call,
                      organization_store_patch(connection, &call->guard, call->parts[0], call->body,
                                               failure),
                      false);
}

static bool delete (struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *deleted = NULL;

    if (organization_store_check_id(call->parts[0], failure))
        deleted = organization_store_delete(connection, &call->guard, call->parts[0], failure);
    PQclear(deleted);
    return deleted != NULL;
}

const struct call_operation organizations_one_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = show},
    {.method = "PUT", .scope = CALL_ADMIN, .takes_body = true, .has_version = true, .run = put},
    {.method = "PATCH", .scope = CALL_ADMIN, .takes_body = true, .has_version = true, .run = patch},
    {.method = "DELETE", .scope = CALL_ADMIN, .has_version = true, .run = delete},
    {0},
};
