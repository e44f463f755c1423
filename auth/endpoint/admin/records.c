#include "auth/endpoint/admin/records.h"

#include "auth/store/audit_store.h"
#include "auth/store/instance_store.h"

static const char *const filters[] = {"object", "object_id", "actor", "session_user",
                                      "action", "since",     "until", NULL};

static bool list_audit(struct call *call, PGconn *connection, struct store_failure *failure)
{
    const struct audit_filter filter = {
        .object = call_value(call, "object"),
        .object_id = call_value(call, "object_id"),
        .actor = call_value(call, "actor"),
        .session_user = call_value(call, "session_user"),
        .action = call_value(call, "action"),
        .since = call_value(call, "since"),
        .until = call_value(call, "until"),
        .after = call->after,
        .limit = call->limit + 1,
    };
    PGresult *rows =
        audit_store_check(&filter, failure) ? audit_store_list(connection, &filter, failure) : NULL;
    json_t *items;
    int count;

    if (rows == NULL)
        return false;
    items = json_array();
    count = PQntuples(rows) > call->limit ? (int)call->limit : PQntuples(rows);
    for (int row = 0; row != count; ++row) {
        struct audit_values values = audit_store_values(rows, (size_t)row);

        json_array_append_new(items, audit_store_document(&values));
    }
    call_answer_page(call, items,
                     PQntuples(rows) > count ? audit_store_values(rows, (size_t)count - 1).audit_id
                                             : NULL);
    PQclear(rows);
    return true;
}

const struct call_operation records_audit_operations[] = {
    {.method = "GET",
     .scope = CALL_READ,
     .parameters = filters,
     .is_list = true,
     .run = list_audit},
    {0},
};

static bool list_instances(struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *instances = instance_store_list(connection, call->after, call->limit + 1, failure);
    json_t *items;
    int count;

    if (instances == NULL)
        return false;
    items = json_array();
    count = PQntuples(instances) > call->limit ? (int)call->limit : PQntuples(instances);
    for (int row = 0; row != count; ++row) {
        struct instance_values values = instance_store_values(instances, (size_t)row);

        json_array_append_new(items, instance_store_document(&values));
    }
    call_answer_page(call, items,
                     PQntuples(instances) > count
                         ? instance_store_values(instances, (size_t)count - 1).instance_id
                         : NULL);
    PQclear(instances);
    return true;
}

const struct call_operation records_instances_operations[] = {
    {.method = "GET", .scope = CALL_READ, .is_list = true, .run = list_instances},
    {0},
};
