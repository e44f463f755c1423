#include "auth/endpoint/admin/apply_call.h"

#include "auth/store/apply.h"

static const char *const parameters[] = {"set", "dry_run", "prune", NULL};

static bool run(struct call *call, PGconn *connection, struct store_failure *failure)
{
    bool is_dry_run = false, prunes = false;
    const bool *given;
    struct apply_order order = {.set_name = call_value(call, "set"), .guard = &call->guard};

    if (order.set_name == NULL)
        return store_fail(failure, STORE_INVALID, "", "the parameter set is missing");
    if (!call_boolean(call, "dry_run", &is_dry_run, &given, failure) ||
        !call_boolean(call, "prune", &prunes, &given, failure))
        return false;
    order.prunes = prunes;
    order.is_dry_run = is_dry_run;
    if (!apply_run(connection, call->body, &order, &call->answer, failure))
        return false;
    call->undo = is_dry_run;
    return true;
}

const struct call_operation apply_call_operations[] = {
    {.method = "POST",
     .scope = CALL_WRITE,
     .parameters = parameters,
     .takes_body = true,
     .is_repeatable = true,
     .run = run},
    {0},
};
