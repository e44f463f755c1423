/* One client connection: the state it is in, and what h2o holds of it.
 *
 * h2o does not tell when the first byte of a request has come, and reads without a bound. So the
 * reading is done here, and what h2o wants called when something was read or written is called by
 * way of functions of ours (pass_on), which look at the connection afterwards (settle).
 *
 * What h2o holds of requests that are not answered is counted there, for all workers together. Past
 * the bound the connection that holds most is closed, whichever worker it belongs to. A whole
 * request that fits into h2o's smallest buffer does not count: the bound of connections is one for
 * these too, and so the way of a good request takes no lock.
 *
 * A connection is closed by shutting its socket down, which h2o then finds out for itself; or,
 * where its memory is wanted at once, by telling h2o that reading has failed.
 */
#ifndef COMMON_HTTP_CONNECTION_H
#define COMMON_HTTP_CONNECTION_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/http/access_log.h"
#include "common/memory_budget.h"

/* Said with a 431. */
#define CONNECTION_HEAD_COMPLAINT "The headers are too large; 16 KiB are allowed."
/* Said with a 413. */
#define CONNECTION_BODY_COMPLAINT "The body is too large; 16 KiB are allowed."

struct connections;

enum connection_state {
    CONNECTION_IDLE,       /* no byte of a request has been read */
    CONNECTION_UNFINISHED, /* part of one has */
    CONNECTION_WORKED_ON,  /* a whole one; nothing is read meanwhile */
    CONNECTION_ANSWERED,   /* the answer is being sent */
    CONNECTION_REFUSED,    /* it has sent too much: it was told, and what still comes is dropped */
    CONNECTION_STATES,
    CONNECTION_CLOSING, /* shut down, and in no list */
};

struct connection {
    struct connection *prev, *next; /* among those of its worker in that state */
    struct connections *owner;
    h2o_socket_t *socket;
    h2o_socket_cb h2o_on_written; /* what h2o wants called when what is being sent is gone */
    enum connection_state state;
    uint64_t since_ms;   /* monotonic: when it came to be in that state */
    uint64_t request_us; /* monotonic: when the request at hand was whole; 0: there is none */
    size_t head_length;  /* of an unfinished request, once its head is whole; else 0 */
    bool operations;     /* accepted at the address for metrics */
    struct memory_piece memory; /* held by h2o, of what is not answered */
    size_t dropped;             /* bytes, since it was refused */
    struct access_note note;
};

/* Takes over a socket that was accepted. */
void connection_adopt(struct connections *owner, h2o_socket_t *socket, bool operations);

/* The one that a request came by. */
struct connection *connection_of(const h2o_req_t *req);

/* A request is whole. */
void connection_work(struct connection *connection);

/* Its answer was handed to h2o. */
void connection_answer(struct connection *connection);

/* Closes it, soon. */
void connection_shut(struct connection *connection, const char *reason);

/* Closes those that hold too much, of one worker. */
void connection_end_condemned(struct connections *owner);

#endif
