/* The HTTP server of a process: what its event loops share, and one loop of it.
 *
 * Knows h2o, but not what is served: that is in the routes (router.h).
 */
#ifndef COMMON_HTTP_HTTP_H
#define COMMON_HTTP_HTTP_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/access_note.h"
#include "common/http/connections.h"
#include "common/network.h"
#include "common/slice.h"
#include "common/timer.h"
#include "common/uuid.h"

#define HTTP_LOOPS_MAX 256

/* Where a listener listens. */
struct http_address {
    const char *text;    /* as it was given; NULL: it does not */
    const char *setting; /* that it was given by, for messages */
    const char *fd_name; /* by which the service manager hands a socket over; NULL: by no name */
    int inherited;       /* such a socket; -1: none */
    bool is_first;       /* this process was seen alone there: who came later is behind it */
};

/* Written at the start, before there are threads, except for what is atomic. */
struct http {
    h2o_globalconf_t h2o;
    const struct router *router;
    struct http_address addresses[CONNECTIONS_LISTENERS_MAX]; /* by the listener's number */
    unsigned listener_count;
    struct connection_bound connections;
    uint64_t idle_ms; /* for which a connection may wait for its next request */
    const struct network_list *trusted_proxies;
    const char *cors_origins; /* as in origin.h; NULL: none */
    enum access_log access_log;
    bool (*is_secret)(struct slice text); /* whether it may be one, and so is not to be logged */
    struct http_loop *loops[HTTP_LOOPS_MAX];
    unsigned loop_count;
};

struct answer; /* reply.c */

/* Belongs to one thread. */
struct http_loop {
    struct http *http;
    h2o_loop_t *loop;
    h2o_context_t h2o;
    struct timers timers;
    struct connections connections;
    struct uuid_source uuids; /* for the ids of requests */
    struct answer *answers;   /* of this pass, to be sent at its end */
    bool draining;            /* every answer closes its connection */
};

static inline struct http_loop *http_loop_of(const h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_loop, h2o, req->conn->ctx);
}

/* Opens a loop of the server, whose routes are set (router_setup). `on_refused` as in
 * connection.h. */
MUST_USE bool http_loop_open(struct http_loop *loop, struct http *http,
                             void (*on_refused)(struct connection_pool *, int status),
                             struct failure *failure);

/* Listens at all addresses; what comes waits until connections_accept. */
MUST_USE bool http_loop_listen(struct http_loop *loop, struct failure *failure);

/* Closes what was opened, also where that stopped half-way. No timer of the caller's may run. */
void http_loop_close(struct http_loop *loop);

/* Open connections; any thread. */
static inline int http_loop_connections(const struct http_loop *loop)
{
    return atomic_load(&loop->connections.pool.count);
}

#endif
