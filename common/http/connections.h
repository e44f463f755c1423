/* The client connections of one loop: accepted up to a bound, watched for idling, for sending or
 * reading too slowly, and ended at a drain.
 *
 * h2o serves a connection and frees it; here is only what h2o 2.2 leaves out. There is a list for
 * each state that a connection may be in, so that the one that is longest in it stands first.
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

#define CONNECTIONS_SLOW_MS   10000 /* a request must be whole so long after its first byte … */
#define CONNECTIONS_WORK_MS   30000 /* … answered so long after that … */
#define CONNECTIONS_UNREAD_MS 30000 /* … and its answer read so long after that */

/* What comes after a refusal is taken for so long, so that the answer is not lost by a reset. */
#define CONNECTIONS_REFUSED_MS 1000

/* At the bound of connections with nothing idle, one whose answer is unread for longer is ended. */
#define CONNECTIONS_UNREAD_AT_BOUND_MS 1000

struct connections_listener {
    h2o_socket_t *socket; /* NULL: closed */
    struct connections *connections;
    unsigned number; /* the caller's */
    bool is_ours;    /* nobody listens on it once we have closed it */
    bool is_shared;  /* ours, and others may listen at its address (SO_REUSEPORT) */
};

struct connections {
    struct connection_pool pool;
    h2o_context_t *h2o;
    struct timers *timers;
    struct connections_listener listeners[CONNECTIONS_LISTENERS_MAX];
    bool out_of_files; /* the last accept failed for want of a descriptor */
    bool accepts;      /* else what comes waits in the kernel's queue */
    struct timer tick;
    uint64_t idle_ms;
    uint64_t drain_at_ms; /* monotonic: when idle ones are ended; 0: not draining */
};

/* `h2o` is initialised and its hosts are configured. `on_refused` as in struct connection_pool. */
void connections_open(struct connections *connections, h2o_context_t *h2o, struct timers *timers,
                      struct connection_bound *bound, uint64_t idle_ms,
                      void (*on_refused)(struct connection_pool *, int status));

/* Listens on the address as the listener of this number. Several sockets may listen on the same
 * address and share what comes (SO_REUSEPORT). */
MUST_USE bool connections_listen(struct connections *connections, unsigned listener,
                                 const struct address *address, struct failure *failure);

/* Accepts from a socket that listens already, and stays open elsewhere where that is `inherited`.
 */
MUST_USE bool connections_listen_with(struct connections *connections, unsigned listener, int fd,
                                      bool inherited, struct failure *failure);

/* Begins to accept. */
void connections_accept(struct connections *connections);

/* No new ones: what waits to be accepted at sockets that are ours is accepted, then the listeners
 * are closed. Idle ones stay until `end_idle_at_ms`, since a request may be on the wire. */
void connections_drain(struct connections *connections, uint64_t end_idle_at_ms);

/* Ends all at once. */
void connections_abort(struct connections *connections);

/* When none are left. */
void connections_close(struct connections *connections);

#endif
