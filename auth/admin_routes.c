#include "auth/admin_routes.h"

#include "auth/endpoint/admin/apply_call.h"
#include "auth/endpoint/admin/call_handle.h"
#include "auth/endpoint/admin/clients.h"
#include "auth/endpoint/admin/local.h"
#include "auth/endpoint/admin/organizations.h"
#include "auth/endpoint/admin/problem.h"
#include "auth/endpoint/admin/records.h"
#include "auth/endpoint/admin/secrets.h"
#include "auth/endpoint/admin/tiers.h"
#include "auth/endpoint/admin/tokens.h"
#include "common/attributes.h"
#include "common/http/router.h"

static const struct route routes[] = {
    {.path = "/admin/v1/session",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = local_session_operations},
    {.path = "/admin/v1/clients",
     .methods = "GET, HEAD, POST",
     .handle = call_handle,
     .data = clients_operations},
    {.path = "/admin/v1/clients/{id}",
     .methods = "GET, HEAD, PUT, PATCH, DELETE",
     .handle = call_handle,
     .data = clients_one_operations},
    {.path = "/admin/v1/clients/{id}/secrets",
     .methods = "GET, HEAD, POST",
     .handle = call_handle,
     .data = secrets_operations},
    {.path = "/admin/v1/clients/{id}/secrets/{secret_id}",
     .methods = "DELETE",
     .handle = call_handle,
     .data = secrets_one_operations},
    {.path = "/admin/v1/clients/{id}/tokens",
     .methods = "GET, HEAD, DELETE",
     .handle = call_handle,
     .data = tokens_of_client_operations},
    {.path = "/admin/v1/organizations",
     .methods = "GET, HEAD, POST",
     .handle = call_handle,
     .data = organizations_operations},
    {.path = "/admin/v1/organizations/{id}",
     .methods = "GET, HEAD, PUT, PATCH, DELETE",
     .handle = call_handle,
     .data = organizations_one_operations},
    {.path = "/admin/v1/tiers",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = tiers_operations},
    {.path = "/admin/v1/tiers/{name}",
     .methods = "GET, HEAD, PUT, PATCH, DELETE",
     .handle = call_handle,
     .data = tiers_one_operations},
    {.path = "/admin/v1/tokens/{jti}",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = tokens_one_operations},
    {.path = "/admin/v1/tokens/{jti}/revoke",
     .methods = "POST",
     .handle = call_handle,
     .data = tokens_revoke_operations},
    {.path = "/admin/v1/signing-keys",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = local_keys_operations},
    {.path = "/admin/v1/audit",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = records_audit_operations},
    {.path = "/admin/v1/instances",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = records_instances_operations},
    {.path = "/admin/v1/cache/stats",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = local_cache_operations},
    {.path = "/admin/v1/cache/invalidate",
     .methods = "POST",
     .handle = call_handle,
     .data = local_invalidate_operations},
    {.path = "/admin/v1/apply",
     .methods = "POST",
     .handle = call_handle,
     .data = apply_call_operations},
    {.path = "/admin/cache/stats",
     .methods = "GET, HEAD",
     .handle = call_handle,
     .data = local_cache_operations},
};

static void on_route(h2o_req_t *req, const struct route *route)
{
    (void)req, (void)route;
}

static void count(h2o_req_t *req, const struct route *route, uint64_t duration_us)
{
    (void)route;
    counters_count_request(&admin_of(req)->counters, ENDPOINT_ADMIN, req->res.status, duration_us);
}

void admin_routes_setup(struct admin *admin)
{
    static const struct router router = {.routes = routes,
                                         .count = COUNT_OF(routes),
                                         .on_route = on_route,
                                         .on_finished = count,
                                         .refuse = problem_refuse};

    router_setup(&admin->http, &router);
}
