/* Only SQLSTATE classes 22 (data exception) and 23 (integrity constraint) are about the rows
 * themselves. Every other failure (disk full, too many connections, read-only, shutdown, timeouts,
 * privileges) will pass, so it is retried.
 */
#include "auth/ledger/ledger_pg.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "auth/ledger/ledger_row.h"
#include "auth/migrations.h"

#define STATEMENT_TIMEOUT "20s"
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

bool ledger_pg_command(struct pg_blocking *pg, const char *sql, struct failure *failure)
{
    return ledger_pg_judge(pg_blocking_execute(pg, sql), PGRES_COMMAND_OK, failure) ==
           LEDGER_WRITTEN;
}

static bool check_schema(struct pg_blocking *pg, struct failure *failure)
{
    PGresult *result = pg_blocking_execute(pg, MIGRATIONS_VERSION_SQL);
    bool known = migrations_check_version(result, failure);

    PQclear(result);
    return known;
}

bool ledger_pg_connect(struct pg_blocking *pg, struct failure *failure)
{
    if (pg_blocking_is_alive(pg))
        return true;
    if (pg_blocking_connect(pg, failure) &&
        ledger_pg_command(pg,
                          "SET synchronous_commit = on; SET timezone = 'UTC';"
                          "SET client_min_messages = error;"
                          "SET statement_timeout = '" STATEMENT_TIMEOUT "';"
                          "SET lock_timeout = '10s';"
                          "SET idle_in_transaction_session_timeout = '30s'",
                          failure) &&
        check_schema(pg, failure) &&
        ledger_pg_judge(pg_blocking_execute(pg, END_SILENT_COPIES), PGRES_TUPLES_OK, failure) ==
            LEDGER_WRITTEN)
        return true;
    pg_blocking_close(pg);
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
static bool put_lines(struct pg_blocking *pg, const char *lines, size_t length)
{
    PGconn *connection = pg->connection;
    bool taken = true;

    while (taken && length != 0) {
        size_t piece = length < PIECE ? length : PIECE;

        taken = PQputCopyData(connection, lines, (int)piece) == 1 && pg_blocking_flush(pg);
        lines += piece;
        length -= piece;
    }
    if (!taken || PQputCopyEnd(connection, NULL) != 1) {
        pg_blocking_close(pg);
        return false;
    }
    return true;
}

enum ledger_outcome ledger_pg_copy(struct pg_blocking *pg, unsigned format, struct slice lines,
                                   struct failure *failure)
{
    enum ledger_outcome outcome = LEDGER_FAILED;
    uint64_t written = 0;
    PGresult *result = NULL, *rest;

    if (PQsendQuery(pg->connection, copies[format]) == 1)
        result = pg_blocking_next_result(pg);
    if (PQresultStatus(result) != PGRES_COPY_IN) {
        outcome = ledger_pg_judge(result, PGRES_COPY_IN, failure);
    } else {
        PQclear(result);
        result = put_lines(pg, lines.bytes, lines.length) ? pg_blocking_next_result(pg) : NULL;
        if (PQresultStatus(result) == PGRES_COMMAND_OK)
            written = strtoull(PQcmdTuples(result), NULL, 10);
        outcome = ledger_pg_judge(result, PGRES_COMMAND_OK, failure);
    }
    while (pg->connection != NULL && (rest = pg_blocking_next_result(pg)) != NULL)
        PQclear(rest);
    if (pg->connection == NULL)
        return failure_set(failure, "PostgreSQL was lost at the end of a COPY"), LEDGER_FAILED;
    /* COPY took some line for something else, such as its end marker. */
    if (outcome == LEDGER_WRITTEN && written != count_lines(lines.bytes, lines.length))
        return failure_set(failure, "COPY took another number of rows than there are lines"),
               LEDGER_REFUSED;
    return outcome;
}
