/* What the workers of one process share. Written at start, before there are threads, except for
 * what is atomic. */
#ifndef AUTH_PROCESS_H
#define AUTH_PROCESS_H

#include <h2o.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/throttle.h"
#include "auth/ledger/ledger.h"
#include "auth/outage.h"
#include "auth/quota/limiter.h"
#include "auth/settings.h"
#include "auth/token/keyring.h"
#include "common/http/connections.h"
#include "common/http/handover.h"

struct process {
    struct settings settings;
    struct keyring keys;
    struct ledger ledger;
    struct throttle throttle;
    struct limiter_shared limiter;
    h2o_globalconf_t h2o;
    struct worker *workers;
    size_t worker_count;
    _Atomic int workers_running; /* threads */
    struct connection_bound connections;
    size_t most_held; /* bytes, by connections, since memory was given back */
    struct handover handover;
    struct outages outages;
    atomic_bool other_host_told;     /* that requests name another host than the default issuer */
    _Atomic size_t workers_verified; /* those that have seen the schema that they know */
    _Atomic uint64_t drain_deadline_ms; /* monotonic; 0: not draining */
};

/* Whether every worker has reached PostgreSQL once and found the schema that it knows, and knows
 * whether there is a Redis. */
static inline bool process_is_verified(const struct process *process)
{
    return atomic_load(&process->workers_verified) == process->worker_count &&
           atomic_load(&process->limiter.settled) == process->worker_count;
}

static inline bool process_is_draining(const struct process *process)
{
    return atomic_load_explicit(&process->drain_deadline_ms, memory_order_relaxed) != 0;
}

#endif
