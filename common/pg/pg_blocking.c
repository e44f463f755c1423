#include "common/pg/pg_blocking.h"

#include <poll.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/pg/pg_consume.h"
#include "common/pg/pg_parameters.h"

#define NOTICE_EVERY_MS 1000 /* at most one is logged */
#define ON_WAIT_MS      1000

void pg_blocking_close(struct pg_blocking *pg)
{
    PQfinish(pg->connection);
    pg->connection = NULL;
}

/* Logs a notice of PostgreSQL's, such as why it ends the connection; libpq would print it. */
static void on_notice(void *data, const PGresult *result)
{
    struct pg_blocking *pg = data;
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms - pg->notice_ms < NOTICE_EVERY_MS)
        return;
    pg->notice_ms = now_ms;
    log_info("pg.notice", log_str("connection", pg->name),
             log_str("message", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

bool pg_blocking_connect(struct pg_blocking *pg, struct failure *failure)
{
    struct pg_parameters parameters;
    char application[64];

    pg_blocking_close(pg);
    snprintf(application, sizeof(application), "jotd-%s", pg->name);
    pg_parameters_begin(&parameters, application);
    pg_parameters_add(&parameters, "connect_timeout", "5"); /* seconds */
    pg_parameters_add(&parameters, "target_session_attrs", "primary");
    pg_parameters_add_url(&parameters, pg->url);
    pg->connection = PQconnectdbParams(parameters.keywords, parameters.values, 1);
    PQsetNoticeReceiver(pg->connection, on_notice, pg);
    if (PQstatus(pg->connection) == CONNECTION_OK && PQsetnonblocking(pg->connection, 1) == 0)
        return true;
    failure_set(failure, "%s", PQerrorMessage(pg->connection));
    failure_one_line(failure);
    pg_blocking_close(pg);
    return false;
}

bool pg_blocking_wait(struct pg_blocking *pg, int fd, uint64_t timeout_ms)
{
    int unflushed = pg->connection != NULL ? PQflush(pg->connection) : -1;
    struct pollfd fds[] = {
        {.fd = PQsocket(pg->connection),
         .events = (short)(POLLIN | (unflushed == 1 ? POLLOUT : 0))},
        {.fd = fd, .events = POLLIN},
    };

    if (unflushed >= 0 && fds[0].fd >= 0) {
        poll(fds, 2, (int)timeout_ms);
        if (pg_consume(pg->connection))
            return true;
    }
    pg_blocking_close(pg);
    return false;
}

bool pg_blocking_is_alive(struct pg_blocking *pg)
{
    return pg->connection != NULL && pg_blocking_wait(pg, -1, 0) &&
           PQstatus(pg->connection) == CONNECTION_OK;
}

/* A step of an answer: how long it may still take, and how many reads. */
struct step {
    uint64_t deadline_ms;
    unsigned reads;
};

static struct step begin_step(const struct pg_blocking *pg)
{
    return (struct step){clock_monotonic_ms() + pg->answer_timeout_ms, 0};
}

/* Waits for more; closes a connection that is silent, or never stops sending. */
static bool wait_for_more(struct pg_blocking *pg, struct step *step)
{
    uint64_t now_ms = clock_monotonic_ms(), left_ms = step->deadline_ms - now_ms;
    bool more;

    if (now_ms >= step->deadline_ms || ++step->reads > PG_BLOCKING_READS_MAX) {
        pg_blocking_close(pg);
        return false;
    }
    if (pg->on_wait == NULL || left_ms <= ON_WAIT_MS)
        return pg_blocking_wait(pg, -1, left_ms);
    more = pg_blocking_wait(pg, -1, ON_WAIT_MS);
    if (clock_monotonic_ms() - now_ms >= ON_WAIT_MS)
        pg->on_wait(pg);
    return more;
}

bool pg_blocking_flush(struct pg_blocking *pg)
{
    struct step step = begin_step(pg);

    while (pg->connection != NULL && PQflush(pg->connection) == 1) {
        if (!wait_for_more(pg, &step))
            return false;
    }
    return pg->connection != NULL;
}

PGresult *pg_blocking_next_result(struct pg_blocking *pg)
{
    struct step step = begin_step(pg);

    if (pg->connection == NULL)
        return NULL;
    while (PQflush(pg->connection) == 1 || PQisBusy(pg->connection)) {
        if (!wait_for_more(pg, &step))
            return NULL;
    }
    return PQgetResult(pg->connection);
}

PGresult *pg_blocking_execute(struct pg_blocking *pg, const char *sql)
{
    PGresult *last = NULL, *result;
    unsigned count = 0;

    if (pg->connection == NULL || PQsendQuery(pg->connection, sql) != 1)
        return NULL;
    while ((result = pg_blocking_next_result(pg)) != NULL) {
        if (++count == PG_BLOCKING_RESULTS_MAX)
            pg_blocking_close(pg);
        if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(result);
        } else {
            PQclear(last);
            last = result;
        }
    }
    if (pg->connection == NULL) { /* it was lost */
        PQclear(last);
        last = NULL;
    }
    return last;
}

static void explain(const PGresult *result, struct failure *failure)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    failure_set(failure, "%s",
                result == NULL    ? "PostgreSQL is lost or does not answer"
                : message != NULL ? message
                                  : "unexpected answer");
}

static bool succeeded(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);

    return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

/* The commit may fail after the statement has succeeded: then a second result says so. Anything
 * else that follows is no answer of PostgreSQL's. */
static bool end(struct pg_blocking *pg, struct failure *failure)
{
    PGresult *result = pg_blocking_next_result(pg);

    if (result != NULL) {
        explain(result, failure);
        if (PQresultStatus(result) != PGRES_FATAL_ERROR)
            pg_blocking_close(pg);
        PQclear(result);
        result = pg_blocking_next_result(pg);
        if (result != NULL)
            pg_blocking_close(pg);
        PQclear(result);
        return false;
    }
    if (pg->connection == NULL)
        explain(NULL, failure);
    return pg->connection != NULL;
}

bool pg_blocking_query(struct pg_blocking *pg, const char *sql, int count,
                       const char *const *values, PGresult **result, struct failure *failure)
{
    bool sent = pg->connection != NULL &&
                PQsendQueryParams(pg->connection, sql, count, NULL, values, NULL, NULL, 0) == 1;
    PGresult *first = sent ? pg_blocking_next_result(pg) : NULL;
    struct failure unused;
    bool done = succeeded(first);

    if (!done)
        explain(first, failure);
    done &= end(pg, done ? failure : &unused);
    if (done && result != NULL)
        *result = first;
    else
        PQclear(first);
    return done;
}

bool pg_blocking_copy(struct pg_blocking *pg, const char *sql, struct failure *failure)
{
    bool sent = pg->connection != NULL && PQsendQuery(pg->connection, sql) == 1;
    PGresult *first = sent ? pg_blocking_next_result(pg) : NULL;
    bool begun = PQresultStatus(first) == PGRES_COPY_OUT;
    struct failure unused;

    if (!begun) {
        explain(first, failure);
        (void)!end(pg, &unused);
    }
    PQclear(first);
    return begun;
}

char *pg_blocking_next_row(struct pg_blocking *pg, size_t *length)
{
    struct step step = {0};
    char *row = NULL;
    int got;

    if (pg->connection == NULL)
        return NULL;
    while ((got = PQgetCopyData(pg->connection, &row, 1)) == 0) {
        if (step.deadline_ms == 0)
            step = begin_step(pg);
        if (!wait_for_more(pg, &step))
            return NULL;
    }
    *length = got > 0 ? (size_t)got : 0;
    return got > 0 ? row : NULL;
}

bool pg_blocking_end_copy(struct pg_blocking *pg, struct failure *failure)
{
    PGresult *result = pg_blocking_next_result(pg);
    struct failure unused;
    bool done = succeeded(result);

    if (!done)
        explain(result, failure);
    PQclear(result);
    return end(pg, done ? failure : &unused) && done;
}
