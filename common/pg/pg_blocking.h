/* A PostgreSQL connection for a thread that may block: each wait has a deadline. A call that runs
 * into it, or loses the connection, closes it, and later calls fail until it is connected again.
 */
#ifndef COMMON_PG_PG_BLOCKING_H
#define COMMON_PG_PG_BLOCKING_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"

#define PG_BLOCKING_READS_MAX   512 /* of some 16 KiB, for one result or row: none is long */
#define PG_BLOCKING_RESULTS_MAX 64  /* from one string of statements */

/* Zero it and set the first three, and the fourth if wanted. */
struct pg_blocking {
    const char *name;                      /* in log lines, and in pg_stat_activity after `jotd-` */
    const char *url;                       /* a libpq URI */
    uint64_t answer_timeout_ms;            /* for each step of an answer */
    void (*on_wait)(struct pg_blocking *); /* called each second of a wait for an answer; or NULL */
    PGconn *connection;                    /* NULL: not connected */
    uint64_t notice_ms;                    /* monotonic: when a notice was last logged */
};

/* Connects, within 5 s for each address, to the primary if there are several. */
MUST_USE bool pg_blocking_connect(struct pg_blocking *pg, struct failure *failure);

/* Harmless when already closed. */
void pg_blocking_close(struct pg_blocking *pg);

/* Waits until something has arrived or `fd` (-1: none) is readable, or for `timeout_ms`; reads what
 * has arrived. False when the connection is lost. */
MUST_USE bool pg_blocking_wait(struct pg_blocking *pg, int fd, uint64_t timeout_ms);

/* Whether it is connected, as far as can be told without asking: reads what has arrived. */
MUST_USE bool pg_blocking_is_alive(struct pg_blocking *pg);

/* Sends what libpq holds back. False when the connection is lost. */
MUST_USE bool pg_blocking_flush(struct pg_blocking *pg);

/* The next result of what was sent; the caller owns it. NULL at the end of a statement, or when
 * there is no connection any more. */
MUST_USE PGresult *pg_blocking_next_result(struct pg_blocking *pg);

/* Runs statements by the simple protocol. Returns the result of the last one, or of the one that
 * failed; the caller owns it. NULL if there is no connection, or it was lost. */
MUST_USE PGresult *pg_blocking_execute(struct pg_blocking *pg, const char *sql);

/* Runs one statement with text parameters (NULL is NULL). True when it succeeded and, outside of a
 * transaction, was committed; `result`, unless NULL, is then the caller's. */
MUST_USE bool pg_blocking_query(struct pg_blocking *pg, const char *sql, int count,
                                const char *const *values, PGresult **result,
                                struct failure *failure);

/* Begins a COPY TO STDOUT. */
MUST_USE bool pg_blocking_copy(struct pg_blocking *pg, const char *sql, struct failure *failure);

/* Its next row; free it with PQfreemem. NULL at its end, or when the connection is lost. */
MUST_USE char *pg_blocking_next_row(struct pg_blocking *pg, size_t *length);

/* Call after the last row: whether it was the last. */
MUST_USE bool pg_blocking_end_copy(struct pg_blocking *pg, struct failure *failure);

#endif
