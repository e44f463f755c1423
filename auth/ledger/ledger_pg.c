/* Only SQLSTATE classes 22 (data exception) and 23 (integrity constraint) are about the rows
 * themselves. Every other failure (disk full, too many connections, read-only, shutdown, timeouts,
 * privileges) will pass, so it is retried.
 */
#include "auth/ledger/ledger_pg.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/ledger/ledger_row.h"
#include "auth/migrations.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/pg/pg_parameters.h"

#define STATEMENT_TIMEOUT "20s"
#define ANSWER_TIMEOUT_MS 25000 /* if even that error does not arrive */
#define ON_WAIT_MS        1000
#define NOTICE_EVERY_MS   1000  /* at most one is logged */
#define READS_MAX         512   /* of some 16 KiB, for one answer: none is long */
#define RESULTS_MAX       64    /* from one string of statements */
#define PIECE             65536 /* bytes */

/* By format (ledger_row.h). */
static const char *const copies[] = {
    [1] = "COPY issued_tokens (jti, client_id, tier, scope, audience, kid, issued_at, expires_at)"
          " FROM STDIN",
    [2] = "COPY issued_tokens (jti, client_id, tier, scope, audience, kid, issued_at, expires_at,"
          " organization, credential) FROM STDIN",
};
_Static_assert(COUNT_OF(copies) == LEDGER_ROW_FORMAT + 1, "every format that is known is sent");

/* No PostgreSQL timeout ends a COPY whose peer has gone silent, and that COPY keeps its batch id
 * locked against anyone who resends the segment. So every new connection ends such COPYs. */
#define END_SILENT_COPIES                                                                          \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"                                       \
    " WHERE datname = current_database() AND usename = current_user"                               \
    " AND query LIKE 'COPY issued_tokens %' AND wait_event = 'ClientRead'"                         \
    " AND query_start < now() - interval '30 seconds'"

void ledger_pg_close(struct ledger_pg *pg)
{
    PQfinish(pg->connection);
    pg->connection = NULL;
}

/* Waits until the connection is readable, or writable while there is something to flush. */
static bool wait_for_peer(struct ledger_pg *pg, uint64_t deadline_ms)
{
    PGconn *connection = pg->connection;
    int unflushed = PQflush(connection);
    uint64_t now_ms = clock_monotonic_ms();
    struct pollfd poll_fd = {.fd = PQsocket(connection),
                             .events = (short)(POLLIN | (unflushed == 1 ? POLLOUT : 0))};

    if (unflushed < 0 || poll_fd.fd < 0 || now_ms >= deadline_ms)
        return false;
    if (pg->on_wait != NULL && deadline_ms - now_ms > ON_WAIT_MS)
        deadline_ms = now_ms + ON_WAIT_MS;
    if (poll(&poll_fd, 1, (int)(deadline_ms - now_ms)) == 0 && pg->on_wait != NULL)
        pg->on_wait(pg);
    return PQconsumeInput(connection) == 1;
}

/* Returns the next result. NULL at the end of a statement, or after closing a connection that is
 * lost, silent, or never stops sending. */
static PGresult *next_result(struct ledger_pg *pg)
{
    uint64_t deadline_ms = clock_monotonic_ms() + ANSWER_TIMEOUT_MS;
    unsigned reads = 0;

    while (PQflush(pg->connection) == 1 || PQisBusy(pg->connection)) {
        if (++reads > READS_MAX || !wait_for_peer(pg, deadline_ms)) {
            ledger_pg_close(pg);
            return NULL;
        }
    }
    return PQgetResult(pg->connection);
}

enum ledger_outcome ledger_pg_judge(PGresult *result, ExecStatusType expected,
                                    struct failure *failure)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum ledger_outcome outcome = LEDGER_FAILED;

    if (PQresultStatus(result) == expected) {
        outcome = LEDGER_WRITTEN;
    } else if (result == NULL) {
        failure_set(failure, "PostgreSQL is lost or does not answer");
    } else {
        failure_set(failure, "%s (SQLSTATE %s)", message != NULL ? message : "unexpected answer",
                    state != NULL ? state : "none");
        if (state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0))
            outcome = LEDGER_REFUSED;
    }
    PQclear(result);
    return outcome;
}

PGresult *ledger_pg_execute(struct ledger_pg *pg, const char *sql)
{
    PGresult *last = NULL, *result;
    unsigned count = 0;

    if (pg->connection == NULL || PQsendQuery(pg->connection, sql) != 1)
        return NULL;
    while ((result = next_result(pg)) != NULL) {
        if (++count == RESULTS_MAX)
            ledger_pg_close(pg);
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

bool ledger_pg_command(struct ledger_pg *pg, const char *sql, struct failure *failure)
{
    return ledger_pg_judge(ledger_pg_execute(pg, sql), PGRES_COMMAND_OK, failure) == LEDGER_WRITTEN;
}

static bool check_schema(struct ledger_pg *pg, struct failure *failure)
{
    PGresult *result = ledger_pg_execute(pg, MIGRATIONS_VERSION_SQL);
    bool known = migrations_check_version(result, failure);

    PQclear(result);
    return known;
}

/* Logs a notice of PostgreSQL's, such as why it ends the connection; libpq would print it. */
static void on_notice(void *data, const PGresult *result)
{
    struct ledger_pg *pg = data;
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms - pg->notice_ms < NOTICE_EVERY_MS)
        return;
    pg->notice_ms = now_ms;
    log_info("ledger.notice",
             log_str("message", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

bool ledger_pg_connect(struct ledger_pg *pg, struct failure *failure)
{
    struct pg_parameters parameters;

    /* Reading reveals a connection that was lost while idle. */
    if (pg->connection != NULL && PQconsumeInput(pg->connection) == 1 &&
        PQstatus(pg->connection) == CONNECTION_OK)
        return true;
    ledger_pg_close(pg);
    pg_parameters_begin(&parameters, "jotd-ledger");
    pg_parameters_add(&parameters, "connect_timeout", "5"); /* seconds */
    /* Of several hosts, skip standbys: they accept connections but no rows. */
    pg_parameters_add(&parameters, "target_session_attrs", "primary");
    pg_parameters_add_url(&parameters, pg->url);
    pg->connection = PQconnectdbParams(parameters.keywords, parameters.values, 1);
    PQsetNoticeReceiver(pg->connection, on_notice, pg);
    if (PQstatus(pg->connection) != CONNECTION_OK || PQsetnonblocking(pg->connection, 1) != 0) {
        failure_set(failure, "%s", PQerrorMessage(pg->connection));
        failure_one_line(failure);
    } else if (ledger_pg_command(pg,
                                 "SET synchronous_commit = on; SET timezone = 'UTC';"
                                 "SET client_min_messages = error;"
                                 "SET statement_timeout = '" STATEMENT_TIMEOUT "';"
                                 "SET lock_timeout = '10s';"
                                 "SET idle_in_transaction_session_timeout = '30s'",
                                 failure) &&
               check_schema(pg, failure) &&
               ledger_pg_judge(ledger_pg_execute(pg, END_SILENT_COPIES), PGRES_TUPLES_OK,
                               failure) == LEDGER_WRITTEN) {
        return true;
    }
    ledger_pg_close(pg);
    return false;
}

static uint64_t count_lines(const char *lines, size_t length)
{
    const char *end = lines + length;
    uint64_t count = 0;

    while ((lines = memchr(lines, '\n', (size_t)(end - lines))) != NULL && ++lines != end)
        ++count;
    return count + (lines == end);
}

/* Passes the lines and their end to libpq, in pieces that it can send at once: with every write it
 * would move the rest of a larger one. On failure closes the connection, which would wait for more,
 * and returns false. */
static bool put_lines(struct ledger_pg *pg, const char *lines, size_t length)
{
    PGconn *connection = pg->connection;
    uint64_t deadline_ms = clock_monotonic_ms() + ANSWER_TIMEOUT_MS;
    bool taken = true;

    while (taken && length != 0) {
        size_t piece = length < PIECE ? length : PIECE;

        taken = PQputCopyData(connection, lines, (int)piece) == 1;
        while (taken && PQflush(connection) == 1)
            taken = wait_for_peer(pg, deadline_ms);
        lines += piece;
        length -= piece;
    }
    if (!taken || PQputCopyEnd(connection, NULL) != 1) {
        ledger_pg_close(pg);
        return false;
    }
    return true;
}

enum ledger_outcome ledger_pg_copy(struct ledger_pg *pg, unsigned format, struct slice lines,
                                   struct failure *failure)
{
    enum ledger_outcome outcome = LEDGER_FAILED;
    uint64_t written = 0;
    PGresult *result = NULL, *rest;

    if (PQsendQuery(pg->connection, copies[format]) == 1)
        result = next_result(pg);
    if (PQresultStatus(result) != PGRES_COPY_IN) {
        outcome = ledger_pg_judge(result, PGRES_COPY_IN, failure);
    } else {
        PQclear(result);
        result = put_lines(pg, lines.bytes, lines.length) ? next_result(pg) : NULL;
        if (PQresultStatus(result) == PGRES_COMMAND_OK)
            written = strtoull(PQcmdTuples(result), NULL, 10);
        outcome = ledger_pg_judge(result, PGRES_COMMAND_OK, failure);
    }
    while (pg->connection != NULL && (rest = next_result(pg)) != NULL)
        PQclear(rest);
    if (pg->connection == NULL)
        return failure_set(failure, "PostgreSQL was lost at the end of a COPY"), LEDGER_FAILED;
    /* COPY took some line for something else, such as its end marker. */
    if (outcome == LEDGER_WRITTEN && written != count_lines(lines.bytes, lines.length))
        return failure_set(failure, "COPY took another number of rows than there are lines"),
               LEDGER_REFUSED;
    return outcome;
}
