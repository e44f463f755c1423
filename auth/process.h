/* State shared by the threads of a process. */
#ifndef AUTH_PROCESS_H
#define AUTH_PROCESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/client_rate.h"
#include "auth/client/throttle.h"
#include "auth/feed.h"
#include "auth/ledger/ledger.h"
#include "auth/openapi.h"
#include "auth/quota/limiter.h"
#include "auth/settings.h"
#include "auth/token/keyring.h"
#include "common/http/http.h"

/* Listeners. If one has no address, the public one serves its paths. */
enum listener {
    LISTENER_PUBLIC,
    LISTENER_METRICS, /* /metrics, /health and /ready */
    LISTENER_ADMIN,   /* not of the workers (admin.h) */
    LISTENER_COUNT,
};
_Static_assert((int)LISTENER_COUNT <= CONNECTIONS_LISTENERS_MAX, "they have their place");

struct counters;

struct process {
    /* Set at startup, before other threads exist. */
    struct settings settings;
    struct worker *workers;
    size_t worker_count;
    struct http http; /* its atomic members change later */
    struct openapi openapi;

    /* Each has its own lock. */
    struct keyring keys;
    struct ledger ledger;
    struct throttle throttle;
    struct limiter_shared limiter;
    struct feed feed;

    struct client_rate introspections; /* without a lock */

    const struct counters *admin_counters; /* NULL: no administration; set at startup */

    _Atomic int workers_running;        /* threads not yet ended */
    atomic_bool other_host_logged;      /* logged that requests name a host not in the issuer */
    _Atomic size_t workers_verified;    /* workers that have found the schema compatible */
    _Atomic uint64_t drain_deadline_ms; /* monotonic; 0: not draining */
};

/* Whether every worker has reached PostgreSQL once and found the schema compatible, and it is known
 * whether Redis and the revoked tokens can be had. */
static inline bool process_is_verified(const struct process *process)
{
    return atomic_load(&process->workers_verified) == process->worker_count &&
           atomic_load(&process->limiter.settled) == process->worker_count &&
           atomic_load(&process->feed.settled);
}

static inline bool process_is_draining(const struct process *process)
{
    return atomic_load_explicit(&process->drain_deadline_ms, memory_order_relaxed) != 0;
}

#endif
