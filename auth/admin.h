/* The administration by HTTP: a listener and an event loop of its own, in two threads beside the
 * workers.
 *
 * The loop reads requests, verifies tokens, and answers what the process itself knows. What needs
 * PostgreSQL is a job for the other thread, which has the one blocking connection and does one job
 * at a time. A statement that takes long, or a PostgreSQL that does not answer, holds up other jobs
 * and nothing else: no worker, and not the loop, which gives up waiting after ADMIN_WAIT_MS.
 */
#ifndef AUTH_ADMIN_H
#define AUTH_ADMIN_H

#include <h2o.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/counters.h"
#include "auth/process.h"
#include "auth/token/keyring.h"
#include "auth/token/verification.h"
#include "common/attributes.h"
#include "common/backoff.h"
#include "common/failure.h"
#include "common/http/http.h"
#include "common/timer.h"
#include "common/watch.h"

#define ADMIN_CONNECTIONS_MAX 256
#define ADMIN_BODY_MAX        (1024 * 1024)      /* bytes */
#define ADMIN_MEMORY_MAX      (64 * 1024 * 1024) /* bytes that unfinished requests may hold */
#define ADMIN_WAIT_MS         8000               /* until a job that has not ended is given up */
#define ADMIN_STATEMENT       "5s"               /* the longest that one statement may take */
#define ADMIN_CALLERS         256                /* that are remembered */
#define ADMIN_CALLER_MS       60000              /* for how long */

/* Work with PostgreSQL. The requester allocates it with malloc. */
struct admin_job {
    struct admin_job *prev, *next; /* private, as what follows until `run` */
    struct admin *admin;
    struct timer patience;
    enum { ADMIN_JOB_IDLE, ADMIN_JOB_WAITING, ADMIN_JOB_RUNNING } state;
    bool is_given_up; /* nobody waits for it any more */

    /* On the other thread, outside of a transaction. `connection` is NULL when PostgreSQL is away.
     * It may leave a transaction open, which is then rolled back. */
    void (*run)(struct admin_job *, PGconn *connection);
    /* On the loop, once. */
    void (*on_done)(struct admin_job *);
    /* On the loop, instead, when it has taken too long: `began` tells whether its changes may have
     * been made all the same. The job is not the requester's any more. */
    void (*on_late)(struct admin_job *, bool began);
    /* Frees the job; may be called on either thread. */
    void (*free)(struct admin_job *);
};

/* A caller whose record was found in order. */
struct admin_caller {
    struct uuid jti;  /* of its token */
    uint64_t seen_ms; /* monotonic; 0: nobody */
};

struct admin {
    struct process *process;
    char audience[544]; /* of the tokens that callers need */

    /* Of the loop's thread. */
    struct http http;
    struct http_loop loop;
    struct keyring_view keys;
    struct verification verification;
    struct counters counters;
    struct timer wipe;
    struct watch watch; /* `done` */
    struct admin_caller callers[ADMIN_CALLERS];
    size_t next_caller;

    pthread_t thread, store_thread;
    bool started, store_started;
    atomic_bool running, store_running; /* the threads have not ended */
    atomic_bool stopping;
    _Atomic uint64_t drain_deadline_ms; /* monotonic; 0: not draining */
    atomic_bool has_postgres;

    pthread_mutex_t mutex; /* guards these */
    pthread_cond_t changed;
    struct admin_job *waiting, *done;
    PGcancel *cancel; /* of the statement that runs; NULL: none */
    int done_fd;      /* an eventfd: there are jobs in `done`, or in `waiting` */

    /* Of the other thread. */
    PGconn *connection;
    struct backoff backoff;
    uint64_t retry_at_ms; /* monotonic */
    struct failure last;  /* failure to connect; logged when it changes */
};

static inline struct admin *admin_of(const h2o_req_t *req)
{
    return H2O_STRUCT_FROM_MEMBER(struct admin, loop, http_loop_of(req));
}

/* Harmless if JOTD_ADMIN_LISTEN is not set, as are the others. Set the router up first
 * (admin_routes.h). */
MUST_USE bool admin_open(struct admin *admin, struct process *process, struct failure *failure);
MUST_USE bool admin_start(struct admin *admin, struct failure *failure);

/* Takes no new connections, and ends those it has by `deadline_ms` (monotonic). */
void admin_drain(struct admin *admin, uint64_t deadline_ms);

/* False if a thread is stuck at `deadline_ms`: it still runs, so the process must exit without
 * freeing anything. */
MUST_USE bool admin_stop(struct admin *admin, uint64_t deadline_ms);
void admin_close(struct admin *admin);

/* On the loop: has the job run; again, if it has run before. */
void admin_submit(struct admin *admin, struct admin_job *job);

/* On the loop: the requester is gone, and the job is not its any more. One that has not begun is
 * not run. */
void admin_withdraw(struct admin_job *job);

/* On the loop: remembers that the caller's record was in order, and whether it was recently; or at
 * all, while PostgreSQL is away. */
void admin_note_caller(struct admin *admin, const struct uuid *jti);
bool admin_knows_caller(const struct admin *admin, const struct uuid *jti);

/* Whether it is served at all. */
static inline bool admin_is_on(const struct admin *admin)
{
    return admin->process != NULL;
}

#endif
