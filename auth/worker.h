/* One event loop in one thread, and all that belongs to it: listeners, connections, its PostgreSQL
 * and Redis connections, its client cache, its view of the keys, its segment, its counters. A
 * request whose client is cached and whose quota is in Redis takes no lock on its way.
 */
#ifndef AUTH_WORKER_H
#define AUTH_WORKER_H

#include <h2o.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/auth_log.h"
#include "auth/client/client_cache.h"
#include "auth/counters.h"
#include "auth/process.h"
#include "auth/quota/limiter.h"
#include "auth/token/issue.h"
#include "auth/token/keyring.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/http.h"
#include "common/pg/pg.h"
#include "common/spool/spool.h"

#define WORKER_PG_SETUP 9 /* statements, and the end of their list */

struct worker {
    struct process *process;
    pthread_t thread;
    bool started;
    bool verified;              /* the schema, once */
    atomic_bool has_postgres;   /* its connection is ready */
    _Atomic uint64_t turned_ms; /* monotonic: when its loop last turned */
    struct counters counters;

    struct http_loop http;
    uint64_t accept_at_ms; /* monotonic: from then on in any case */
    struct pg_config pg_config;
    struct pg_setup pg_setup[WORKER_PG_SETUP];
    char warm_sql[1024];
    struct pg pg;
    struct client_cache clients;
    struct limiter limiter;
    struct keyring_view keys;
    struct spool_writer spool;
    struct issue issue;
    struct auth_log auth_log;
    struct timer wipe;       /* of what libh2o keeps of requests */
    uint64_t changes_second; /* monotonic: in which … */
    unsigned changes;        /* … so many clients were told to have changed */
    struct buffer scratch;   /* for whoever builds a body, within one call */
};

static inline struct worker *worker_of(const h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct worker, http, http_loop_of(req));
}

/* Opens all that belongs to it; what fails, such as an address that is taken, is found at start. */
MUST_USE bool worker_open(struct worker *worker, struct process *process, struct failure *failure);

/* Runs the loop in a thread of its own until the drain is over. */
MUST_USE bool worker_start(struct worker *worker, struct failure *failure);

/* Whether its loop has not turned for longer than `bound_ms`. */
MUST_USE bool worker_is_stuck(const struct worker *worker, uint64_t bound_ms);

/* The sum of a counter over all workers; `offset` is its place in struct counters. */
MUST_USE uint64_t workers_sum(const struct process *process, size_t offset);

/* Harmless when it was not started. */
void worker_join(struct worker *worker);

/* Closes what worker_open opened, also where that stopped half-way. */
void worker_close(struct worker *worker);

#endif
