/* One PostgreSQL connection on the loop: connects, sets up the session, pipelines queries, notices
 * a lost connection and reconnects by itself (reconnect.h).
 *
 * Each query has its own sync point, so an error in one does not affect the others. A query that is
 * not answered by its deadline leaves the connection in an unknown state: it is closed and
 * reopened, and everything in flight fails.
 *
 * A connection that listens must lead to PostgreSQL itself, since a pooler may swallow
 * notifications. It also notifies itself every 5 s and must hear it: otherwise a network that died
 * silently would go unnoticed.
 */
#ifndef COMMON_PG_PG_H
#define COMMON_PG_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/pg/pg_hosts.h"
#include "common/reconnect.h"
#include "common/timer.h"
#include "common/watch.h"

#define PG_FRUITLESS_READS_MAX  4096   /* about 16 KiB each: the most that one result may take */
#define PG_FRUITLESS_CPU_MAX_US 500000 /* libpq's work on them */
#define PG_NOTICE_EVERY_MS      1000   /* at most one is logged in this time */

/* How far the last attempt got. */
enum pg_reach {
    PG_NOT_REACHED,
    PG_PASSWORD_REFUSED, /* or the server asked for one and there is none */
    PG_SETUP_REFUSED,
    PG_REACHED,
};

/* One set-up statement, sent alone and in order on every new connection. */
struct pg_setup {
    const char *sql;
    /* Checks the result, which may be an error; false, with the reason, refuses the connection.
     * NULL: any success will do. */
    bool (*check)(void *owner, const PGresult *result, struct failure *failure);
    bool once; /* skipped once a connection has been ready */
};

/* Embedded in the caller's request. */
struct pg_query {
    struct pg_query *prev, *next;
    uint64_t deadline_ms;
    /* Called once. `result` holds rows and is valid during the call, or is NULL with the reason in
     * words. May send more queries; must not close the connection. */
    void (*on_result)(struct pg_query *, const PGresult *result, const char *reason);
};

struct pg_config {
    const char *name;             /* of the connection, in log lines */
    const char *url;              /* a libpq URI */
    const struct pg_setup *setup; /* ends with a NULL sql */
    uint64_t connect_timeout_ms;  /* connection and set-up together, once names are known */
    uint64_t query_timeout_ms;
    void *owner; /* passed to the callbacks */
    /* The connection became ready, or is no longer; also false after a failed set-up. */
    void (*on_change)(void *owner, bool ready);
    /* A notification on a channel that the set-up listens on, after the results that arrived before
     * it. NULL: none is expected. */
    void (*on_notify)(void *owner, const char *channel, const char *payload);
};

struct pg {
    const struct pg_config *config;
    h2o_loop_t *loop;
    struct timers *timers;
    struct reconnect link; /* its timer, when READY: the deadline of the oldest query */
    struct pg_hosts hosts; /* where PostgreSQL is, and which address to try */
    PGconn *conn;
    struct watch watch;
    struct timer beat_timer;  /* when to notify, or the deadline to hear it */
    struct pg_query beat;     /* the notifying query */
    bool beat_is_out;         /* sent, but not heard yet */
    bool was_ready;           /* a connection has been ready before */
    char beat_channel[32];    /* this connection's own */
    struct pg_query *queries; /* in flight, oldest first */
    PGresult *result;         /* of the oldest query */
    size_t setup_step;
    bool fruitful;            /* a result or notification has arrived in this turn */
    unsigned fruitless_reads; /* turns since one has arrived */
    uint64_t fruitless_cpu_us;
    uint64_t notice_ms;     /* monotonic: when a notice was last logged */
    uint64_t down_since_ms; /* monotonic; 0: up, or never was */
    enum pg_reach reach;
};

/* Starts connecting. `config` must outlive the connection. */
void pg_open(struct pg *pg, const struct pg_config *config, h2o_loop_t *loop,
             struct timers *timers);

/* Fails what is in flight and stops for good. Harmless when already closed. */
void pg_close(struct pg *pg);

/* Executes a prepared statement (made by the set-up) with text parameters. False when the
 * connection is not ready; otherwise the query belongs to it until `on_result`. */
MUST_USE bool pg_send(struct pg *pg, struct pg_query *query, const char *statement, int count,
                      const char *const *values);

static inline bool pg_is_ready(const struct pg *pg)
{
    return reconnect_is_ready(&pg->link);
}

/* Whether it is ready, or has at least failed once or been slow to resolve. */
static inline bool pg_was_tried(const struct pg *pg)
{
    return pg_is_ready(pg) || pg->link.reason.reason[0] != '\0';
}

#endif
