/* The client connections of one worker: accepted up to a bound, watched for idling, for sending or
 * reading too slowly, and ended at a drain.
 *
 * h2o serves a connection and frees it; here is only what h2o 2.2 leaves out. There is a list for
 * each state that a connection may be in, so that the one that is longest in it stands first.
 */
#ifndef COMMON_HTTP_CONNECTIONS_H
#define COMMON_HTTP_CONNECTIONS_H

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/counters.h"
#include "common/address.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/connection.h"
#include "common/memory_budget.h"
#include "common/timer.h"

#define CONNECTIONS_SLOW_MS   10000 /* a request must be whole so long after its first byte … */
#define CONNECTIONS_WORK_MS   30000 /* … answered so long after that … */
#define CONNECTIONS_UNREAD_MS 30000 /* … and its answer read so long after that */

/* What comes after a refusal is taken for so long, so that the answer is not lost by a reset. */
#define CONNECTIONS_REFUSED_MS 1000

/* At the bound of connections with nothing idle, one whose answer is unread for longer is ended. */
#define CONNECTIONS_UNREAD_AT_BOUND_MS 1000

/* Shared by the workers of a process. */
struct connection_bound {
    _Atomic int count;  /* open ones of the process … */
    int max;            /* … and how many there may be */
    atomic_bool wanted; /* a worker without an idle one asks the others to give one up */
    struct memory_budget memory;
};

struct listener {
    h2o_socket_t *socket; /* NULL: closed */
    struct connections *connections;
    bool operations;
    bool is_ours;   /* nobody listens on it once we have closed it */
    bool is_shared; /* ours, and others may listen at its address (SO_REUSEPORT) */
};

struct connections {
    h2o_context_t *h2o;
    struct counters *counters;
    struct timers *timers;
    h2o_accept_ctx_t accept;
    struct listener listeners[2];                   /* the public one; the one for metrics */
    struct connection *in_state[CONNECTION_STATES]; /* the longest first */
    struct connection *at_hand; /* passed on to h2o; NULL: none, or h2o has freed it */
    h2o_socket_cb h2o_on_read;  /* what h2o wants called when something was read */
    struct memory_holder memory;
    uint64_t warned_ms; /* monotonic: of too much memory */
    bool out_of_files;  /* the last accept failed for want of a descriptor */
    bool accepts;       /* else what comes waits in the kernel's queue */
    struct timer tick;
    struct connection_bound *bound;
    uint64_t idle_ms;
    uint64_t drain_at_ms; /* monotonic: when idle ones are ended; 0: not draining */
    _Atomic int count;    /* read by /metrics */
};

/* `h2o` is initialised and its hosts are configured. */
void connections_open(struct connections *connections, h2o_context_t *h2o,
                      struct counters *counters, struct timers *timers,
                      struct connection_bound *bound, uint64_t idle_ms);

/* Listens on the address. Several sockets may listen on the same one and share what comes
 * (SO_REUSEPORT). */
MUST_USE bool connections_listen(struct connections *connections, const struct address *address,
                                 bool operations, struct failure *failure);

/* Accepts from a socket that listens already, and stays open elsewhere where that is `inherited`.
 */
MUST_USE bool connections_listen_with(struct connections *connections, int fd, bool operations,
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

/* There may be room again. */
void connections_resume(struct connections *connections);

#endif
