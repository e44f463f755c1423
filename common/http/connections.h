/* The client connections of one loop: accepted up to a limit, closed when they idle or when they
 * send or read too slowly, and closed at a drain.
 *
 * h2o serves a connection and frees it; this adds only what h2o 2.2 lacks. Each state has a list,
 * with the connection longest in it first.
 */
#ifndef COMMON_HTTP_CONNECTIONS_H
#define COMMON_HTTP_CONNECTIONS_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/address.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/connection.h"
#include "common/timer.h"

#define CONNECTIONS_LISTENERS_MAX 4
#define CONNECTIONS_BODY_MAX      65536 /* bytes of an incomplete body, unless said otherwise */

#define CONNECTIONS_SLOW_MS   10000 /* from a request's first byte until it is complete */
#define CONNECTIONS_WORK_MS   30000 /* from there until it is answered */
#define CONNECTIONS_UNREAD_MS 30000 /* from there until the answer is read */

/* How long input is dropped after a refusal, so that a reset does not lose the answer. */
#define CONNECTIONS_REFUSED_MS 1000

/* At the connection limit with nothing idle, an answer unread for longer ends its connection. */
#define CONNECTIONS_UNREAD_AT_BOUND_MS 1000

struct connections_listener {
    h2o_socket_t *socket; /* NULL: closed */
    struct connections *connections;
    unsigned number; /* chosen by the caller */
    bool is_ours;    /* not inherited: once we close it, nobody listens on it */
    bool is_shared;  /* ours, and others may listen at its address (SO_REUSEPORT) */
};

struct connections {
    struct connection_pool pool;
    h2o_context_t *h2o;
    struct timers *timers;
    struct connections_listener listeners[CONNECTIONS_LISTENERS_MAX];
    bool out_of_files; /* the last accept ran out of descriptors */
    bool accepts;      /* otherwise new ones wait in the kernel's backlog */
    struct timer tick;
    uint64_t idle_ms;
    uint64_t drain_at_ms; /* monotonic: when idle ones are closed; 0: not draining */
};

/* `h2o` must be initialised and its hosts configured. `on_refused` as in struct connection_pool;
 * its `body_max` may be set afterwards. */
void connections_open(struct connections *connections, h2o_context_t *h2o, struct timers *timers,
                      struct connection_bound *bound, uint64_t idle_ms,
                      void (*on_refused)(struct connection_pool *, int status));

/* Listens on the address as the listener of this number. Several sockets may listen on the same
 * address and share its connections (SO_REUSEPORT). */
MUST_USE bool connections_listen(struct connections *connections, unsigned listener,
                                 const struct address *address, struct failure *failure);

/* Accepts from a socket that already listens; duplicates it. `inherited`: it stays open elsewhere.
 */
MUST_USE bool connections_listen_with(struct connections *connections, unsigned listener, int fd,
                                      bool inherited, struct failure *failure);

/* Starts accepting. */
void connections_accept(struct connections *connections);

/* Stops accepting: first accepts what is in the backlog of our own sockets, then closes the
 * listeners. Idle connections stay until `end_idle_at_ms`, since a request may be on the wire. */
void connections_drain(struct connections *connections, uint64_t end_idle_at_ms);

/* Closes all connections at once. */
void connections_abort(struct connections *connections);

/* Closes the listeners and stops the timer; the connections should be gone. */
void connections_close(struct connections *connections);

#endif
