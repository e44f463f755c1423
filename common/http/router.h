/* Maps listener, path and method to a handler; answers 404 or 405 when none matches. */
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
    unsigned listener;   /* that serves it; when that does not listen, the first one does */
    unsigned id;         /* for the caller's counters */
    enum cors cors;
    bool (*is_open)(const h2o_req_t *req); /* false: answer 404; NULL: open to all */
    void (*handle)(h2o_req_t *req);
    const void *data; /* for `handle` (router_route) */
};

struct router {
    const struct route *routes; /* the first match wins */
    size_t count;
    void (*on_route)(h2o_req_t *req, const struct route *route); /* called before its handler */
    /* Answers what no handler gets, instead of reply_error; NULL: that. */
    void (*refuse)(h2o_req_t *req, int status, const char *description);
    /* Called once per request: its answer was sent, or its connection has closed. `route` is NULL
     * when none matches its path; `duration_us` is 0 when h2o refused it before a handler saw
     * it. */
    void (*on_finished)(h2o_req_t *req, const struct route *route, uint64_t duration_us);
};

/* Fills the fresh globalconf of `http`: limits, handler, logger. `router` must outlive it. */
void router_setup(struct http *http, const struct router *router);

/* The n-th variable part of the request's path, from 0. */
struct slice router_part(const h2o_req_t *req, size_t n);

/* The route that the request has taken. */
const struct route *router_route(const h2o_req_t *req);

#endif
