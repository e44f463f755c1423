#include "auth/routes.h"

#include <string.h>

#include "auth/client/secret.h"
#include "auth/endpoint/discovery.h"
#include "auth/endpoint/health.h"
#include "auth/endpoint/introspect.h"
#include "auth/endpoint/revocations.h"
#include "auth/endpoint/revoke.h"
#include "auth/endpoint/token.h"
#include "auth/worker.h"
#include "common/http/peer.h"
#include "common/http/router.h"
#include "common/log.h"

/* On the public listener, metrics would tell strangers which ids exist and whose secret is right,
 * so only this host may read them. The path must match as sent: one such as /./metrics would slip
 * past a proxy's rule. */
static bool may_scrape(const h2o_req_t *req)
{
    struct slice target = {req->input.path.base, req->input.path.len};
    const char *query = memchr(target.bytes, '?', target.length);

    if (worker_of(req)->process->settings.metrics_listen != NULL)
        return true;
    if (query != NULL)
        target.length = (size_t)(query - target.bytes);
    return slice_equal(target, SLICE("/metrics")) && peer_is_this_host(req);
}

#define READ "GET, HEAD"

static const struct route routes[] = {
    {.path = "/token",
     .methods = "POST",
     .cors = CORS_LISTED,
     .id = ENDPOINT_TOKEN,
     .handle = token_handle},
    {.path = "/introspect",
     .methods = "POST",
     .id = ENDPOINT_INTROSPECT,
     .handle = introspect_handle},
    {.path = "/revoke",
     .methods = "POST",
     .cors = CORS_LISTED,
     .id = ENDPOINT_REVOKE,
     .handle = revoke_handle},
    {.path = "/revocations",
     .methods = READ,
     .id = ENDPOINT_REVOCATIONS,
     .handle = revocations_handle},
    {.path = "/.well-known/jwks.json",
     .methods = READ,
     .cors = CORS_EVERYONE,
     .id = ENDPOINT_JWKS,
     .handle = discovery_handle_jwks},
    {.path = "/.well-known/oauth-authorization-server",
     .methods = READ,
     .cors = CORS_EVERYONE,
     .id = ENDPOINT_METADATA,
     .handle = discovery_handle_metadata},
    {.path = "/.well-known/openid-configuration",
     .methods = READ,
     .cors = CORS_EVERYONE,
     .id = ENDPOINT_METADATA,
     .handle = discovery_handle_metadata},
    {.path = "/openapi.json",
     .methods = READ,
     .cors = CORS_EVERYONE,
     .id = ENDPOINT_OPENAPI,
     .handle = discovery_handle_openapi},
    {.path = "/health",
     .methods = READ,
     .listener = LISTENER_METRICS,
     .id = ENDPOINT_HEALTH,
     .handle = health_handle},
    {.path = "/ready",
     .methods = READ,
     .listener = LISTENER_METRICS,
     .id = ENDPOINT_READY,
     .handle = health_handle_ready},
    {.path = "/metrics",
     .methods = READ,
     .listener = LISTENER_METRICS,
     .id = ENDPOINT_METRICS,
     .is_open = may_scrape,
     .handle = health_handle_metrics},
};

/* Warns once if a client uses another host name than a default issuer's: it will not find the iss
 * that it expects. */
static void check_host(h2o_req_t *req, const struct route *route)
{
    struct process *process = worker_of(req)->process;
    struct slice host = {req->input.authority.base, req->input.authority.len};

    if (route->listener != LISTENER_PUBLIC || !process->settings.issuer_is_default ||
        host.length == 0 ||
        slice_equal(host, slice_of(process->settings.issuer + strlen("http://"))) ||
        atomic_exchange(&process->other_host_logged, true))
        return;
    log_warn(
        "issuer.other_host", log_slice("host", host), log_str("issuer", process->settings.issuer),
        log_str("reason",
                "a request used this host name, but tokens name another issuer: set JOTD_ISSUER to "
                "the URL that clients use"));
}

static void count(h2o_req_t *req, const struct route *route, uint64_t duration_us)
{
    counters_count_request(&worker_of(req)->counters,
                           route != NULL ? (enum endpoint)route->id : ENDPOINT_OTHER,
                           req->res.status, duration_us);
}

void routes_setup(struct process *process)
{
    static const struct router router = {
        .routes = routes, .count = COUNT_OF(routes), .on_route = check_host, .on_finished = count};
    const struct settings *settings = &process->settings;
    struct http *http = &process->http;

    http->addresses[LISTENER_PUBLIC] =
        (struct http_address){.text = settings->listen, .setting = "JOTD_LISTEN", .inherited = -1};
    http->addresses[LISTENER_METRICS] = (struct http_address){.text = settings->metrics_listen,
                                                              .setting = "JOTD_METRICS_LISTEN",
                                                              .fd_name = "metrics",
                                                              .inherited = -1};
    http->addresses[LISTENER_ADMIN] = (struct http_address){.text = settings->admin_listen,
                                                            .setting = "JOTD_ADMIN_LISTEN",
                                                            .fd_name = "admin",
                                                            .inherited = -1,
                                                            .is_elsewhere = true};
    http->listener_count = LISTENER_COUNT;
    http->idle_ms = (uint64_t)settings->idle_timeout_s * 1000;
    http->trusted_proxies = &settings->trusted_proxies;
    http->cors_origins = settings->cors_origins;
    http->access_log = settings->access_log;
    http->is_secret = secret_is_suspected;
    router_setup(http, &router);
}
