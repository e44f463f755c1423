/* One client connection: the state it is in, and what h2o holds of it.
 *
 * h2o does not tell when the first byte of a request has come, and reads without a bound. So the
 * reading is done here, and what h2o wants called when something was read or written is called by
 * way of functions of ours (pass_on), which look at the connection afterwards (settle).
 *
 * What h2o holds of requests that are not answered is counted there, for all loops together. Past
 * the bound the connection that holds most is closed, whichever loop it belongs to. A whole
 * request that fits into h2o's smallest buffer does not count: the bound of connections is one for
 * these too, and so the way of a good request takes no lock.
 *
 * A connection is closed by shutting its socket down, which h2o then finds out for itself; or,
 * where its memory is wanted at once, by telling h2o that reading has failed.
 */
#ifndef COMMON_HTTP_CONNECTION_H
#define COMMON_HTTP_CONNECTION_H

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/http/access_note.h"
#include "common/memory_budget.h"

/* Said with a 431. */
#define CONNECTION_HEAD_COMPLAINT "The headers are too large; 16 KiB are allowed."
/* Said with a 413. */
#define CONNECTION_BODY_COMPLAINT "The body is too large; 16 KiB are allowed."

enum connection_state {
    CONNECTION_IDLE,       /* no byte of a request has been read */
    CONNECTION_UNFINISHED, /* part of one has */
    CONNECTION_WORKED_ON,  /* a whole one; nothing is read meanwhile */
    CONNECTION_ANSWERED,   /* the answer is being sent */
    CONNECTION_REFUSED,    /* it has sent too much: it was told, and what still comes is dropped */
    CONNECTION_STATES,
    CONNECTION_CLOSING, /* shut down, and in no list */
};

/* Shared by all loops of a process. */
struct connection_bound {
    _Atomic int count;  /* open ones of the process … */
    int max;            /* … and how many there may be */
    atomic_bool wanted; /* a loop without an idle one asks the others to give one up */
    struct memory_budget memory;
};

/* The connections of one loop, in lists by state, those longest in it first. */
struct connection_pool {
    h2o_accept_ctx_t accept;
    struct connection *in_state[CONNECTION_STATES];
    struct connection *at_hand; /* passed on to h2o; NULL: none, or h2o has freed it */
    h2o_socket_cb h2o_on_read;  /* what h2o wants called when something was read */
    struct connection_bound *bound;
    struct memory_holder memory;
    uint64_t warned_ms;                        /* monotonic: of too much memory */
    _Atomic int count;                         /* to be read by other threads */
    void (*on_room)(struct connection_pool *); /* one is gone */
    /* A request that is not whole was answered with this status; no handler has seen it. */
    void (*on_refused)(struct connection_pool *, int status);
};

struct connection {
    struct connection *prev, *next; /* among those of its pool in that state */
    struct connection_pool *pool;
    h2o_socket_t *socket;
    h2o_socket_cb h2o_on_written; /* what h2o wants called when what is being sent is gone */
    enum connection_state state;
    uint64_t since_ms;   /* monotonic: when it came to be in that state */
    uint64_t request_us; /* monotonic: when the request at hand was whole; 0: there is none */
    size_t head_length;  /* of an unfinished request, once its head is whole; else 0 */
    unsigned listener;   /* at which it was accepted */
    struct memory_piece memory; /* held by h2o, of what is not answered */
    size_t dropped;             /* bytes, since it was refused */
    struct access_note note;
};

/* Takes over a socket that was accepted. */
void connection_adopt(struct connection_pool *pool, h2o_socket_t *socket, unsigned listener);

/* The one that a request came by. */
struct connection *connection_of(const h2o_req_t *req);

/* A request is whole. */
void connection_work(struct connection *connection);

/* Its answer was handed to h2o. */
void connection_answer(struct connection *connection);

/* Closes it, soon. */
void connection_shut(struct connection *connection, const char *reason);

/* Closes those of the pool that hold too much. */
void connection_end_condemned(struct connection_pool *pool);

#endif
