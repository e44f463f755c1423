#include "common/http/router.h"

#include <string.h>
#include <strings.h>

#include "common/clock.h"
#include "common/http/access_log.h"
#include "common/http/connection.h"
#include "common/http/http_head.h"
#include "common/http/reply.h"
#include "common/http/request.h"
#include "common/http/route_path.h"
#include "common/lag.h"

#define MAX_BODY     (1024 * 1024) /* above it h2o refuses, before it has arrived */
#define TEN_YEARS_MS 315360000000

/* RFC 9112 3.2.2: the target may also be an absolute URL, which h2o leaves as it is. Returns the
 * length of its scheme, in any case, with `://`; 0 when it has none. */
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

static const struct router *router_of(const h2o_req_t *req)
{
    return http_loop_of(req)->http->router;
}

/* NULL when none matches. */
static const struct route *find_route(const struct router *router, struct slice path,
                                      struct slice parts[ROUTE_PATH_PARTS_MAX])
{
    for (size_t i = 0; i != router->count; ++i) {
        if (route_path_matches(router->routes[i].path, path, parts))
            return router->routes + i;
    }
    return NULL;
}

struct slice router_part(const h2o_req_t *req, size_t n)
{
    struct slice parts[ROUTE_PATH_PARTS_MAX] = {{0}};

    (void)find_route(router_of(req), path_of(req), parts);
    return parts[n];
}

const struct route *router_route(const h2o_req_t *req)
{
    struct slice parts[ROUTE_PATH_PARTS_MAX];

    return find_route(router_of(req), path_of(req), parts);
}

static bool is_served_here(const struct route *route, const h2o_req_t *req)
{
    const struct http *http = http_loop_of(req)->http;
    unsigned listener = http->addresses[route->listener].text != NULL ? route->listener : 0;

    return listener == connection_of(req)->listener &&
           (route->is_open == NULL || route->is_open(req));
}

/* Whether the method is in the route's list, separated by ", ". */
static bool takes_method(const struct route *route, const h2o_req_t *req)
{
    const char *rest = route->methods;

    while (rest != NULL && *rest != '\0') {
        size_t length = strcspn(rest, ",");

        if (request_has_method(req, (struct slice){rest, length}))
            return true;
        rest += length + strspn(rest + length, ", ");
    }
    return rest == NULL;
}

/* Refuses without reading what the client sent, and wipes it. */
static void refuse(h2o_req_t *req, int status, const char *error, const char *description)
{
    request_wipe(req);
    if (router_of(req)->refuse != NULL)
        router_of(req)->refuse(req, status, description);
    else
        reply_error(req, status, error, description);
}

static void refuse_method(h2o_req_t *req, const struct route *route)
{
    bool is_read = strstr(route->methods, "GET") != NULL; /* otherwise RFC 6749 5.2's code */

    REPLY_HEADER(req, "allow", "Allow", slice_of(route->methods));
    refuse(req, 405, is_read ? "method_not_allowed" : "invalid_request",
           "This path does not take that method; see Allow.");
}

/* Why the request must not be read any further, with the status; NULL: it may be. The connection
 * then closes, since the start of the next request is in doubt; after chunks too, since libh2o
 * accepts sizes such as 1dg and 0x1d. */
static const char *framing_complaint(h2o_req_t *req, const h2o_buffer_t *input, int *status)
{
    bool is_too_large =
        input->size > HTTP_HEAD_MAX && http_head_length(input->bytes, input->size) == 0;
    bool chunked = false;
    const char *complaint = is_too_large ? CONNECTION_HEAD_COMPLAINT
                                         : http_head_complaint(input->bytes, input->size, &chunked);

    *status = is_too_large ? 431 : 400;
    if (complaint != NULL || chunked)
        req->http1_is_persistent = 0;
    return complaint;
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    const struct router *router = router_of(req);
    struct slice parts[ROUTE_PATH_PARTS_MAX];
    const struct route *route = find_route(router, path_of(req), parts);
    struct connection *connection = connection_of(req);
    const char *complaint;
    int status;

    (void)handler;
    lag_begin();
    connection_work(connection);
    access_log_begin(req);
    /* The connection's input starts with this request. */
    complaint = framing_complaint(req, connection->socket->input, &status);
    if (complaint != NULL) {
        refuse(req, status, "invalid_request", complaint);
    } else if (route == NULL || !is_served_here(route, req)) {
        refuse(req, 404, "not_found", "There is nothing at this path.");
    } else if (cors_begin(req, route->cors, route->methods)) {
        request_wipe(req);
    } else if (!takes_method(route, req)) {
        refuse_method(req, route);
    } else {
        router->on_route(req, route);
        route->handle(req);
    }
    return 0;
}

static void on_finished(h2o_logger_t *logger, h2o_req_t *req)
{
    struct connection *connection = connection_of(req);
    struct slice path = req->path_normalized.base != NULL ? path_of(req) : SLICE("");
    struct slice parts[ROUTE_PATH_PARTS_MAX];
    uint64_t duration_us = 0;

    (void)logger;
    if (connection->request_us != 0)
        duration_us = clock_monotonic_us() - connection->request_us;
    connection->request_us = 0;
    router_of(req)->on_finished(req, find_route(router_of(req), path, parts), duration_us);
    access_log_write(req, path, duration_us);
}

void router_setup(struct http *http, const struct router *router)
{
    h2o_globalconf_t *config = &http->h2o;
    h2o_hostconf_t *host;
    h2o_pathconf_t *path;

    http->router = router;
    h2o_config_init(config);
    config->server_name = (h2o_iovec_t){NULL, 0};
    config->max_request_entity_size = MAX_BODY;
    /* connections.c closes idle and slow connections by the monotonic clock. h2o uses the wall
     * clock: a step forward would close every connection, so its timeout is out of reach. */
    config->http1.req_timeout = TEN_YEARS_MS;
    /* libh2o 2.2.5 has no fix for HTTP/2's rapid reset and MadeYouReset. */
    config->http1.upgrade_to_http2 = 0;
    config->http2.callbacks.request_shutdown = NULL;
    host = h2o_config_register_host(config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_create_logger(path, sizeof(h2o_logger_t))->log_access = on_finished;
    /* h2o logs what it answers itself at the host's fallback path. */
    h2o_create_logger(&host->fallback_path, sizeof(h2o_logger_t))->log_access = on_finished;
}
