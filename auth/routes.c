/* Routing: see routes.h. */
#include "auth/routes.h"

#include <string.h>
#include <strings.h>

#include "auth/counters.h"
#include "auth/endpoint/authenticate.h"
#include "auth/endpoint/discovery.h"
#include "auth/endpoint/health.h"
#include "auth/endpoint/token.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/access_log.h"
#include "common/http/connection.h"
#include "common/http/cors.h"
#include "common/http/http_head.h"
#include "common/http/lag.h"
#include "common/http/peer.h"
#include "common/http/reply.h"
#include "common/log.h"

#define MAX_BODY     (1024 * 1024) /* past it h2o refuses, before it has come */
#define TEN_YEARS_MS 315360000000

struct route {
    struct slice path;
    bool post;       /* POST; else GET and HEAD */
    bool operations; /* at the address for metrics, where there is one */
    enum cors cors;
    enum endpoint endpoint;
    void (*handle)(h2o_req_t *req);
};

static const struct route routes[] = {
    {SLICE("/token"), true, false, CORS_LISTED, ENDPOINT_TOKEN, token_handle},
    {SLICE("/.well-known/jwks.json"), false, false, CORS_EVERYONE, ENDPOINT_JWKS,
     discovery_handle_jwks},
    {SLICE("/.well-known/oauth-authorization-server"), false, false, CORS_EVERYONE,
     ENDPOINT_METADATA, discovery_handle_metadata},
    {SLICE("/.well-known/openid-configuration"), false, false, CORS_EVERYONE, ENDPOINT_METADATA,
     discovery_handle_metadata},
    {SLICE("/health"), false, true, CORS_NONE, ENDPOINT_HEALTH, health_handle},
    {SLICE("/ready"), false, true, CORS_NONE, ENDPOINT_READY, health_handle_ready},
    {SLICE("/metrics"), false, true, CORS_NONE, ENDPOINT_METRICS, health_handle_metrics},
};

/* RFC 9112 3.2.2: the target may also be an absolute URL, which h2o leaves as it is. The length of
 * its scheme with `://`, which may be in any case; 0: it is none. */
static size_t scheme_length(struct slice target)
{
    static const struct slice schemes[] = {{"http://", 7}, {"https://", 8}};

    for (size_t i = 0; i != COUNT_OF(schemes); ++i) {
        if (target.length >= schemes[i].length &&
            strncasecmp(target.bytes, schemes[i].bytes, schemes[i].length) == 0)
            return schemes[i].length;
    }
    return 0;
}

static struct slice path_of(const h2o_req_t *req)
{
    struct slice path = {req->input.path.base, req->input.path.len};
    size_t scheme = scheme_length(path);
    const char *end;

    if (scheme == 0)
        return (struct slice){req->path_normalized.base, req->path_normalized.len};
    path = (struct slice){path.bytes + scheme, path.length - scheme};
    if ((end = memchr(path.bytes, '/', path.length)) == NULL)
        return SLICE("/");
    path.length -= (size_t)(end - path.bytes);
    path.bytes = end;
    if ((end = memchr(path.bytes, '?', path.length)) != NULL)
        path.length = (size_t)(end - path.bytes);
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

/* At the public address the metrics would tell strangers which ids exist and whose secret is right:
 * they are for this host alone there. A path such as /./metrics would pass a proxy's rule, so the
 * path counts as it was sent. */
static bool may_scrape(const h2o_req_t *req)
{
    struct slice target = {req->input.path.base, req->input.path.len};
    const char *query = memchr(target.bytes, '?', target.length);

    if (query != NULL)
        target.length = (size_t)(query - target.bytes);
    return slice_equal(target, SLICE("/metrics")) && peer_is_this_host(req);
}

/* With an address of their own, the operators' paths are there and nowhere else. */
static bool is_served_here(const struct route *route, const h2o_req_t *req)
{
    if (worker_of(req)->process->settings.metrics_listen != NULL)
        return route->operations == connection_of(req)->operations;
    return route->endpoint != ENDPOINT_METRICS || may_scrape(req);
}

static const char *methods_of(const struct route *route)
{
    return route->post ? "POST" : "GET, HEAD";
}

static bool has_method(const h2o_req_t *req, struct slice method)
{
    return slice_equal((struct slice){req->method.base, req->method.len}, method);
}

static bool takes_method(const struct route *route, const h2o_req_t *req)
{
    return route->post ? has_method(req, SLICE("POST"))
                       : has_method(req, SLICE("GET")) || has_method(req, SLICE("HEAD"));
}

static void refuse(h2o_req_t *req, int status, const char *error, const char *description)
{
    token_wipe_unread(req);
    reply_error(req, status, error, description);
}

/* Who comes by another name than a default issuer says will not find the iss that it expects. */
static void check_host(const h2o_req_t *req)
{
    struct process *process = worker_of(req)->process;
    struct slice host = {req->input.authority.base, req->input.authority.len};

    if (!process->settings.issuer_is_default || host.length == 0 ||
        slice_equal(host, slice_of(process->settings.issuer + strlen("http://"))) ||
        atomic_exchange(&process->other_host_told, true))
        return;
    log_warn("issuer.other_host", log_slice("host", host),
             log_str("issuer", process->settings.issuer),
             log_str("reason", "a request came by this name, the tokens say another: set "
                               "JOTD_ISSUER to the URL by which clients get here"));
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    const struct route *route = find_route(path_of(req));
    struct connection *connection = connection_of(req);
    const h2o_buffer_t *input = connection->socket->input; /* begins with this request */
    bool is_too_large =
        input->size > HTTP_HEAD_MAX && http_head_length(input->bytes, input->size) == 0;
    bool chunked = false;
    const char *complaint =
        is_too_large ? NULL : http_head_complaint(input->bytes, input->size, &chunked);

    (void)handler;
    lag_begin();
    connection_work(connection);
    access_log_begin(req);
    /* Where the next request begins is in doubt; after chunks too, since libh2o takes sizes such as
     * 1dg and 0x1d. What follows is not read. */
    if (is_too_large || complaint != NULL || chunked)
        req->http1_is_persistent = 0;
    if (is_too_large) {
        refuse(req, 431, "invalid_request", CONNECTION_HEAD_COMPLAINT);
    } else if (complaint != NULL) {
        refuse(req, 400, "invalid_request", complaint);
    } else if (route == NULL || !is_served_here(route, req)) {
        refuse(req, 404, "not_found", "There is nothing at this path.");
    } else if (cors_begin(req, route->cors, methods_of(route))) {
        token_wipe_unread(req);
    } else if (!takes_method(route, req)) {
        REPLY_HEADER(req, "allow", "Allow", slice_of(methods_of(route)));
        refuse(req, 405, route->post ? "invalid_request" : "method_not_allowed",
               "This path does not take that method; see Allow.");
    } else {
        if (!route->operations)
            check_host(req);
        route->handle(req);
    }
    return 0;
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
    counter_add(&counters->requests[endpoint][counters_status_index(req->res.status)], 1);
    if (connection->request_us != 0) { /* else h2o refused it before a handler had it */
        duration_us = clock_monotonic_us() - connection->request_us;
        histogram_observe(&counters->request_durations[endpoint], duration_us);
        connection->request_us = 0;
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
