/* One PostgreSQL connection on the loop: connects, sets the session up, takes queries in a
 * pipeline, notices its loss and comes back by itself (reconnect.h).
 *
 * Each query has its own sync point, so that an error in one does not touch the others. A query
 * that is not answered within the deadline leaves the connection in an unknown state: it is closed
 * and made anew, and everything in flight fails.
 *
 * A connection that listens must lead to PostgreSQL itself, since a pooler may swallow
 * notifications; and it notifies itself every 5 s and must hear it: a network that has died without
 * a word would otherwise go unnoticed.
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

#define PG_FRUITLESS_READS_MAX  4096   /* of some 16 KiB each: what one result may have */
#define PG_FRUITLESS_CPU_MAX_US 500000 /* of libpq's work on them */
#define PG_NOTICE_EVERY_MS      1000   /* one of them is logged */

/* How far the last attempt came. */
enum pg_reach {
    PG_NOT_REACHED,
    PG_PASSWORD_REFUSED, /* or it was asked for, and there is none */
    PG_SETUP_REFUSED,
    PG_REACHED,
};

/* One statement of the set-up, sent alone and in order on every new connection. */
struct pg_setup {
    const char *sql;
    /* Looks at the result, which may be an error's; false, with the reason, refuses the connection.
     * NULL: any success will do. */
    bool (*check)(void *owner, const PGresult *result, struct failure *failure);
    bool once; /* only until a connection has become ready for the first time */
};

/* Embedded in what asks. */
struct pg_query {
    struct pg_query *prev, *next;
    uint64_t deadline_ms;
    /* Called once. `result` is valid during the call; NULL when there is none, with the reason in
     * words. May send more queries; must not close the connection. */
    void (*on_result)(struct pg_query *, const PGresult *result, const char *reason);
};

struct pg_config {
    const char *name;             /* in log lines: which connection */
    const char *url;              /* a libpq URI */
    const struct pg_setup *setup; /* ended by NULL sql */
    uint64_t connect_timeout_ms;  /* connection and set-up together, once names are known */
    uint64_t query_timeout_ms;
    void *owner; /* for the calls below */
    /* It became ready, or stopped being so; false also when a set-up has failed. */
    void (*on_change)(void *owner, bool ready);
    /* A notification of a channel that the set-up listens on, after the results that came before
     * it. NULL: none is expected. */
    void (*on_notify)(void *owner, const char *payload);
};

struct pg {
    const struct pg_config *config;
    h2o_loop_t *loop;
    struct timers *timers;
    struct reconnect link; /* its timer, when READY: the oldest query's deadline */
    struct pg_hosts hosts; /* where PostgreSQL is, and which address is tried */
    PGconn *conn;
    struct watch watch;
    struct timer beat_timer;  /* when to notify, or by when it must have been heard */
    struct pg_query beat;     /* the one that notifies */
    bool beat_is_out;         /* it has not been heard yet */
    bool was_ready;           /* a connection has been, at some time */
    char beat_channel[32];    /* of this connection's own */
    struct pg_query *queries; /* in flight, oldest first */
    PGresult *result;         /* of the oldest */
    size_t setup_step;
    bool fruitful;            /* a result or a notification has come in this turn */
    unsigned fruitless_reads; /* turns since one has */
    uint64_t fruitless_cpu_us;
    uint64_t notice_ms;     /* monotonic: when one was logged */
    uint64_t down_since_ms; /* monotonic; 0: was never up, or is */
    enum pg_reach reach;
};

/* Begins to connect. `config` must outlive the connection. */
void pg_open(struct pg *pg, const struct pg_config *config, h2o_loop_t *loop,
             struct timers *timers);

/* What is in flight fails, nothing is tried again. Harmless when it is closed already. */
void pg_close(struct pg *pg);

/* Sends one execution of a prepared statement (made by the set-up) with text parameters. False
 * when the connection is not ready; else the query belongs to it until `on_result`. */
MUST_USE bool pg_send(struct pg *pg, struct pg_query *query, const char *statement, int count,
                      const char *const *values);

static inline bool pg_is_ready(const struct pg *pg)
{
    return reconnect_is_ready(&pg->link);
}

/* It is ready, or could not be made at the first try. */
static inline bool pg_was_tried(const struct pg *pg)
{
    return pg_is_ready(pg) || pg->link.reason.reason[0] != '\0';
}

#endif
