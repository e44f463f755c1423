/* One client connection: its state, and the memory that h2o holds for it.
 *
 * h2o does not report the first byte of a request, and reads without limit. So we read here, call
 * h2o's read and write callbacks from functions of our own (pass_on), and look at the connection
 * afterwards (settle).
 *
 * The memory that h2o holds for unanswered requests is counted, for all loops together. Past the
 * limit, the connection that holds most is closed, whichever loop it belongs to. A complete request
 * that fits into h2o's smallest buffer does not count: the limit on connections covers it, and so a
 * good request takes no lock.
 *
 * A connection is closed by shutting its socket down, which h2o then notices; or, when its memory
 * is needed at once, by telling h2o that reading has failed.
 */
#ifndef COMMON_HTTP_CONNECTION_H
#define COMMON_HTTP_CONNECTION_H

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/http/access_note.h"
#include "common/memory_budget.h"

/* Sent with a 431. */
#define CONNECTION_HEAD_COMPLAINT "The headers are too large; 16 KiB are allowed."
/* Sent with a 413. */
#define CONNECTION_BODY_COMPLAINT "The body is too large; 16 KiB are allowed."

enum connection_state {
    CONNECTION_IDLE,       /* no byte of a request read yet */
    CONNECTION_UNFINISHED, /* part of a request read */
    CONNECTION_WORKED_ON,  /* a complete request; nothing is read meanwhile */
    CONNECTION_ANSWERED,   /* the answer is being sent */
    CONNECTION_REFUSED,    /* it sent too much and was told; further input is dropped */
    CONNECTION_STATES,
    CONNECTION_CLOSING, /* shut down, and in no list */
};

/* Shared by all loops of a process. */
struct connection_bound {
    _Atomic int count;  /* open in the process */
    int max;            /* limit of count */
    atomic_bool wanted; /* a loop with nothing idle asks the others to close one */
    struct memory_budget memory;
};

/* The connections of one loop, in lists by state, longest in it first. */
struct connection_pool {
    h2o_accept_ctx_t accept;
    struct connection *in_state[CONNECTION_STATES];
    struct connection *at_hand; /* now passed to h2o; NULL: none, or h2o has freed it */
    h2o_socket_cb h2o_on_read;  /* h2o's own read callback */
    struct connection_bound *bound;
    struct memory_holder memory;
    size_t body_max;                           /* bytes of an incomplete body */
    uint64_t warned_ms;                        /* monotonic: last warning of too much memory */
    _Atomic int count;                         /* read by other threads */
    void (*on_room)(struct connection_pool *); /* a connection has closed */
    /* An incomplete request was answered with this status; no handler has seen it. */
    void (*on_refused)(struct connection_pool *, int status);
};

struct connection {
    struct connection *prev, *next; /* in the list of its pool and state */
    struct connection_pool *pool;
    h2o_socket_t *socket;
    h2o_socket_cb h2o_on_written; /* h2o's own callback for the write in progress */
    enum connection_state state;
    uint64_t since_ms;   /* monotonic: when it entered that state */
    uint64_t request_us; /* monotonic: when the current request was complete; 0: none */
    size_t head_length;  /* of an unfinished request, once its head is complete; otherwise 0 */
    unsigned listener;   /* that accepted it */
    struct memory_piece memory; /* held by h2o for unanswered requests */
    size_t dropped;             /* bytes dropped since it was refused */
    struct access_note note;
};

/* Takes over an accepted socket. */
void connection_adopt(struct connection_pool *pool, h2o_socket_t *socket, unsigned listener);

/* The connection that a request arrived on. */
struct connection *connection_of(const h2o_req_t *req);

/* A request is complete: reads no more until it is answered. */
void connection_work(struct connection *connection);

/* A part of its answer has been passed to h2o; more will follow. */
void connection_continue(struct connection *connection);

/* Its answer has been passed to h2o. */
void connection_answer(struct connection *connection);

/* Closes it soon, not within the call. */
void connection_shut(struct connection *connection, const char *reason);

/* Closes the pool's condemned connections (memory_budget.h). */
void connection_end_condemned(struct connection_pool *pool);

#endif
