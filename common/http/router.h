/* Listener, path and method to handler; what fits none is 404 or 405. */
#ifndef COMMON_HTTP_ROUTER_H
#define COMMON_HTTP_ROUTER_H

#include <h2o.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/http/cors.h"
#include "common/http/http.h"

struct route {
    const char *path;    /* as in route_path.h */
    const char *methods; /* as in Allow: "GET, HEAD"; NULL: any */
    unsigned listener;   /* at which it is served; where that listens nowhere: at the first one */
    unsigned id;         /* for whoever counts */
    enum cors cors;
    bool (*is_open)(const h2o_req_t *req); /* false: as if it were not there; NULL: to everybody */
    void (*handle)(h2o_req_t *req);
};

struct router {
    const struct route *routes; /* the first that fits is taken */
    size_t count;
    void (*on_route)(h2o_req_t *req, const struct route *route); /* before its handler */
    /* Once for each request: its answer was sent, or its connection is gone. `route` is NULL when
     * there is none for its path, `duration_us` 0 when h2o refused it before a handler had it. */
    void (*on_finished)(h2o_req_t *req, const struct route *route, uint64_t duration_us);
};

/* Fills the fresh globalconf of `http`: limits, handler, logger. `router` must outlive it. */
void router_setup(struct http *http, const struct router *router);

/* The n-th part of the request's path, from 0. */
struct slice router_part(const h2o_req_t *req, size_t n);

#endif
