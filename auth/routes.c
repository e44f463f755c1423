/* Routing: see routes.h. */
#include "auth/routes.h"

#include "auth/access_log.h"
#include "auth/connections.h"
#include "auth/counters.h"
#include "auth/discovery.h"
#include "auth/health.h"
#include "auth/reply.h"
#include "auth/token.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/lag.h"

#define MAX_BODY     (1024 * 1024) /* past it h2o refuses by itself; token.c refuses much less */
#define TEN_YEARS_MS 315360000000

struct route {
    struct slice path;
    bool post;       /* POST; else GET and HEAD */
    bool operations; /* at the address for metrics, where there is one */
    enum endpoint endpoint;
    void (*handle)(h2o_req_t *req);
};

static const struct route routes[] = {
    {SLICE("/token"), true, false, ENDPOINT_TOKEN, token_handle},
    {SLICE("/.well-known/jwks.json"), false, false, ENDPOINT_JWKS, discovery_handle_jwks},
    {SLICE("/.well-known/oauth-authorization-server"), false, false, ENDPOINT_METADATA,
     discovery_handle_metadata},
    {SLICE("/.well-known/openid-configuration"), false, false, ENDPOINT_METADATA,
     discovery_handle_metadata},
    {SLICE("/health"), false, true, ENDPOINT_HEALTH, health_handle},
    {SLICE("/ready"), false, true, ENDPOINT_READY, health_handle_ready},
    {SLICE("/metrics"), false, true, ENDPOINT_METRICS, health_handle_metrics},
};

/* RFC 9112 3.2.2: the target may also be an absolute URL, which h2o leaves as it is. */
static struct slice path_of(const h2o_req_t *req)
{
    struct slice path = {req->path_normalized.base, req->path_normalized.len};
    const char *slash;

    if (!h2o_memis(req->input.path.base, req->input.path.len < 7 ? req->input.path.len : 7,
                   H2O_STRLIT("http://")))
        return path;
    path = (struct slice){req->input.path.base + 7, req->input.path.len - 7};
    if ((slash = memchr(path.bytes, '/', path.length)) == NULL)
        return SLICE("/");
    path.length -= (size_t)(slash - path.bytes);
    path.bytes = slash;
    if ((slash = memchr(path.bytes, '?', path.length)) != NULL)
        path.length = (size_t)(slash - path.bytes);
    return path;
}

static const struct route *find_route(struct slice path)
{
    for (size_t i = 0; i != COUNT_OF(routes); ++i) {
        if (slice_equal(path, routes[i].path))
            return routes + i;
    }
    return NULL;
}

/* With an address of their own, the operators' paths are there and nowhere else. */
static bool is_served_here(const struct route *route, const h2o_req_t *req)
{
    return worker_of(req)->process->settings.metrics_listen == NULL ||
           route->operations == connection_of(req)->operations;
}

static bool has_method(const h2o_req_t *req, struct slice method)
{
    return slice_equal((struct slice){req->method.base, req->method.len}, method);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    const struct route *route = find_route(path_of(req));
    struct connection *connection = connection_of(req);

    (void)handler;
    lag_begin();
    connection->request_us = clock_monotonic_us();
    connection_set_busy(connection, true);
    if (route == NULL || !is_served_here(route, req)) {
        reply_error(req, 404, "not_found", "There is nothing at this path.");
    } else if (route->post ? !has_method(req, SLICE("POST"))
                           : !has_method(req, SLICE("GET")) && !has_method(req, SLICE("HEAD"))) {
        REPLY_HEADER(req, "allow", "Allow", route->post ? SLICE("POST") : SLICE("GET, HEAD"));
        reply_error(req, 405, route->post ? "invalid_request" : "method_not_allowed",
                    "This path does not take that method; see Allow.");
    } else {
        route->handle(req);
    }
    return 0;
}

static size_t status_index(int status)
{
    static const int codes[STATUS_COUNT] = STATUS_CODES;
    size_t i = 0;

    while (i != STATUS_COUNT - 1 && codes[i] != status)
        ++i;
    return i;
}

/* Once for each request: its answer was sent, or its connection is gone. */
static void on_finished(h2o_logger_t *logger, h2o_req_t *req)
{
    struct counters *counters = &worker_of(req)->counters;
    struct connection *connection = connection_of(req);
    struct slice path = req->path_normalized.base != NULL ? path_of(req) : SLICE("");
    const struct route *route = find_route(path);
    enum endpoint endpoint = route != NULL ? route->endpoint : ENDPOINT_OTHER;
    uint64_t duration_us = 0;

    (void)logger;
    counter_add(&counters->requests[endpoint][status_index(req->res.status)], 1);
    if (connection->busy) { /* what h2o refused by itself was never handed to a handler */
        duration_us = clock_monotonic_us() - connection->request_us;
        histogram_observe(&counters->request_durations[endpoint], duration_us);
        connection_set_busy(connection, false);
    }
    access_log_request(req, path, duration_us);
}

void routes_setup(h2o_globalconf_t *config)
{
    h2o_hostconf_t *host;
    h2o_pathconf_t *path;

    h2o_config_init(config);
    config->server_name = (h2o_iovec_t){NULL, 0};
    config->max_request_entity_size = MAX_BODY;
    /* connections.c ends what idles or is slow, by the monotonic clock. h2o goes by the wall clock:
     * a step forward would end every connection, so its time never comes. */
    config->http1.req_timeout = TEN_YEARS_MS;
    /* libh2o 2.2.5 has no answer to HTTP/2's rapid reset and MadeYouReset. */
    config->http1.upgrade_to_http2 = 0;
    config->http2.callbacks.request_shutdown = NULL;
    host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_logger(path, sizeof(h2o_logger_t))->log_access = on_finished;
    /* What h2o answers by itself is logged at the host's fallback path. */
    h2o_create_logger(&host->fallback_path, sizeof(h2o_logger_t))->log_access = on_finished;
}
