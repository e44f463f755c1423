#include "auth/endpoint/admin/tiers.h"

#include "auth/store/tier_store.h"

/* There are few: one page has them all. */
static bool list(struct call *call, PGconn *connection, struct store_failure *failure)
{
    PGresult *tiers = tier_store_list(connection, failure);
    json_t *items;

    if (tiers == NULL)
        return false;
    items = json_array();
    for (int row = 0; row != PQntuples(tiers); ++row) {
        struct tier_values tier = tier_store_values(tiers, (size_t)row);

        json_array_append_new(items, tier_store_document(&tier));
    }
    call_answer_page(call, items, NULL);
    PQclear(tiers);
    return true;
}

const struct call_operation tiers_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = list},
    {0},
};

/* Answers with the tier, and frees it; false for NULL. */
static bool answer_one(struct call *call, PGresult *tiers)
{
    struct tier_values tier;

    if (tiers == NULL)
        return false;
    tier = tier_store_values(tiers, 0);
    call_answer_object(call, tier_store_document(&tier), tier.version);
    PQclear(tiers);
    return true;
}

static bool show(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return tier_store_check_name(call->parts[0], failure) &&
           answer_one(call, tier_store_find(connection, call->parts[0], failure));
}

static bool put(struct call *call, PGconn *connection, struct store_failure *failure)
{
    bool was_made = false;

    if (!answer_one(call, tier_store_put(connection, &call->guard, call->parts[0], call->body,
                                         &was_made, failure)))
        return false;
    if (was_made) {
        call->status = 201;
        call_set_location(call, "tiers", call->parts[0]);
    }
    return true;
}

static bool patch(struct call *call, PGconn *connection, struct store_failure *failure)
{
    return answer_one(call, tier_store_patch(connection, &call->guard, call->parts[0], call->body,
                                             failure));
}

static bool delete (struct call *call, PGconn *connection, struct store_failure *failure)
{
    return tier_store_check_name(call->parts[0], failure) &&
           tier_store_delete(connection, &call->guard, call->parts[0], failure);
}

const struct call_operation tiers_one_operations[] = {
    {.method = "GET", .scope = CALL_READ, .run = show},
    {.method = "PUT", .scope = CALL_ADMIN, .takes_body = true, .has_version = true, .run = put},
    {.method = "PATCH", .scope = CALL_ADMIN, .takes_body = true, .has_version = true, .run = patch},
    {.method = "DELETE", .scope = CALL_ADMIN, .has_version = true, .run = delete},
    {0},
};
