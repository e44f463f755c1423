/* The client connections of one worker: accepted up to a bound, watched for idling, for sending or
 * reading too slowly, and ended at a drain.
 *
 * h2o serves a connection and frees it; here is only what h2o 2.2 leaves out. A connection is
 * closed by shutting its socket down, which h2o then finds out for itself, so that nothing is freed
 * under its feet.
 */
#ifndef AUTH_CONNECTIONS_H
#define AUTH_CONNECTIONS_H

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/access_log.h"
#include "common/address.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/metrics.h"
#include "common/timer.h"

#define CONNECTIONS_SLOW_MS 10000 /* a request must be whole so long after its first byte … */
#define CONNECTIONS_BUSY_MS 30000 /* … and answered, and the answer read, so long after that */

/* Bytes that h2o may hold of what clients have sent, in each worker; past it, waiting connections
 * whose buffer is larger than the second figure are ended. */
#define CONNECTIONS_BUDGET (64 * 1024 * 1024)
#define CONNECTIONS_LARGE  (64 * 1024)

struct connection {
    struct connection *prev, *next;
    struct connections *owner;
    h2o_socket_t *socket;
    uint64_t since_ms;   /* monotonic: waiting, or busy, since then */
    uint64_t partial_ms; /* monotonic: part of a request was first seen; 0: none was */
    uint64_t request_us; /* monotonic: when the request at hand was whole */
    bool busy;           /* with a request; else waiting for one */
    bool closing;        /* shut down, and in no list */
    bool operations;     /* accepted at the address for metrics */
    struct access_note note;
};

/* Shared by the workers of a process. */
struct connection_bound {
    _Atomic int count;  /* open ones of the process … */
    int max;            /* … and how many there may be */
    atomic_bool wanted; /* a worker without an idle one asks the others to give one up */
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
    struct timers *timers;
    h2o_accept_ctx_t accept;
    struct listener listeners[2]; /* the public one; the one for metrics */
    struct connection *waiting;   /* the longest first */
    struct connection *busy;      /* likewise */
    struct connection *sweep;     /* the next waiting one to be looked at for a partial request */
    uint64_t round_ms;            /* monotonic: when this round of looking began */
    size_t swept_bytes;           /* what h2o holds of those looked at in this round */
    bool over_budget;             /* in the last round it was too much */
    bool out_of_files;            /* the last accept failed for want of a descriptor */
    bool accepts;                 /* else what comes waits in the kernel's queue */
    struct timer tick;
    struct connection_bound *bound;
    uint64_t idle_ms;
    uint64_t drain_at_ms; /* monotonic: when idle ones are ended; 0: not draining */
    _Atomic int count;    /* read by /metrics */
};

/* `h2o` is initialised and its hosts are configured. */
void connections_open(struct connections *connections, h2o_context_t *h2o, struct timers *timers,
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

/* The one that a request came by. */
struct connection *connection_of(const h2o_req_t *req);

/* A request is whole, or its answer is sent. */
void connection_set_busy(struct connection *connection, bool busy);

#endif
