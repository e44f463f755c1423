/* The HTTP server of a process: what its event loops share, and one loop.
 *
 * Knows h2o, but not what is served: the routes do (router.h).
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
    const char *text;    /* as configured; NULL: does not listen */
    const char *setting; /* name of its setting, for messages */
    const char *fd_name; /* name of its socket from the service manager; NULL: none */
    int inherited;       /* socket handed over; -1: none */
    bool is_first;       /* this process was once alone there: its sockets come first */
    bool is_elsewhere;   /* another server of this process listens there */
    bool takes_over;     /* a local socket: whoever listens at the path loses it */
    unsigned mode;       /* of a local socket; 0: as the umask says */
};

/* Written before threads start, except atomics and what the main thread alone uses. */
struct http {
    h2o_globalconf_t h2o;
    const struct router *router;
    struct http_address addresses[CONNECTIONS_LISTENERS_MAX]; /* by listener number */
    unsigned listener_count;
    struct connection_bound connections;
    size_t body_max;  /* bytes of an incomplete body; 0: the default */
    uint64_t idle_ms; /* how long a connection may wait for its next request */
    const struct network_list *trusted_proxies;
    const char *cors_origins; /* as in origin.h; NULL: none */
    enum access_log access_log;
    bool names_requests;                  /* each gets an id, whether it is logged or not */
    bool (*is_secret)(struct slice text); /* whether it may be a secret, and must not be logged */
    struct http_loop *loops[HTTP_LOOPS_MAX];
    unsigned loop_count;
};

struct answer; /* reply.c */

/* Owned by one thread. */
struct http_loop {
    struct http *http;
    h2o_loop_t *loop;
    h2o_context_t h2o;
    struct timers timers;
    struct connections connections;
    struct uuid_source uuids; /* for the ids of requests */
    struct answer *answers;   /* of this pass, sent at its end */
    bool draining;            /* every answer closes its connection */
};

static inline struct http_loop *http_loop_of(const h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct http_loop, h2o, req->conn->ctx);
}

/* Opens a loop of the server; call router_setup first. `on_refused` as in connection.h. */
MUST_USE bool http_loop_open(struct http_loop *loop, struct http *http,
                             void (*on_refused)(struct connection_pool *, int status),
                             struct failure *failure);

/* Listens at all addresses; connections wait in the backlog until connections_accept. */
MUST_USE bool http_loop_listen(struct http_loop *loop, struct failure *failure);

/* Closes what was opened, even after a failure to open. No timer of the caller may be running. */
void http_loop_close(struct http_loop *loop);

/* The number of open connections, for any thread. */
static inline int http_loop_connections(const struct http_loop *loop)
{
    return atomic_load(&loop->connections.pool.count);
}

#endif
