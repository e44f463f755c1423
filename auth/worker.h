/* One event loop in its own thread, with all that it owns: listeners, connections, its PostgreSQL
 * and Redis connections, client cache, view of the keys, spool segment and counters. A request
 * whose client is cached and whose quota is in Redis takes no lock.
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
#include "auth/feed.h"
#include "auth/process.h"
#include "auth/quota/limiter.h"
#include "auth/token/issue.h"
#include "auth/token/keyring.h"
#include "auth/token/verification.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/http.h"
#include "common/pg/pg.h"
#include "common/spool/spool.h"

#define WORKER_PG_SETUP 10 /* statements and the terminator */

struct worker {
    struct process *process;
    pthread_t thread;
    bool started;
    bool verified;              /* has found the schema compatible */
    atomic_bool has_postgres;   /* its connection is ready */
    _Atomic uint64_t turned_ms; /* monotonic: when its loop last began a turn */
    struct counters counters;

    struct http_loop http;
    uint64_t accept_at_ms; /* monotonic: accept by then even if not ready */
    struct pg_config pg_config;
    struct pg_setup pg_setup[WORKER_PG_SETUP];
    char warm_sql[2048];
    struct pg pg;
    struct client_cache clients;
    struct limiter limiter;
    struct keyring_view keys;
    struct spool_writer spool;
    struct issue issue;
    struct verification verification;
    struct feed_port feed;
    struct auth_log auth_log;
    struct timer wipe;       /* wipes request data that libh2o keeps */
    uint64_t changes_second; /* monotonic second in which … */
    unsigned changes;        /* … this many client changes arrived */
    struct buffer scratch;   /* for building a body within one call */
};

static inline struct worker *worker_of(const h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct worker, http, http_loop_of(req));
}

/* Opens everything that the worker owns, so that failures such as an address in use show at
 * startup. */
MUST_USE bool worker_open(struct worker *worker, struct process *process, struct failure *failure);

/* Runs the loop in its own thread until it has drained. */
MUST_USE bool worker_start(struct worker *worker, struct failure *failure);

/* Whether the loop has not turned for more than `bound_ms`. */
MUST_USE bool worker_is_stuck(const struct worker *worker, uint64_t bound_ms);

/* Sums a counter over all workers; `offset` is its offset in struct counters. */
MUST_USE uint64_t workers_sum(const struct process *process, size_t offset);

/* Harmless if it was not started. */
void worker_join(struct worker *worker);

/* Closes what worker_open opened, even if that failed half-way. */
void worker_close(struct worker *worker);

#endif
