/* Sending segments: see ledger_send.h.
 *
 * What PostgreSQL answers decides what happens: only SQLSTATE class 22 (data exception) and 23
 * (integrity constraint) are about the rows themselves. Everything else (disk full, too many
 * connections, read-only, shutdown, timeouts, privileges) passes, so the segment stays and is tried
 * again.
 */
#include "auth/ledger_send.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "auth/migrations.h"
#include "common/clock.h"
#include "common/log.h"

#define STATEMENT_TIMEOUT "20s"
#define ANSWER_TIMEOUT_MS 25000 /* when even that does not come */

/* No timeout of PostgreSQL's ends a COPY whose peer has fallen silent, and that COPY holds its
 * batch id against everyone who sends the same segment again: who connects ends those of before. */
#define END_SILENT_COPIES                                                                          \
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"                                       \
    " WHERE datname = current_database() AND usename = current_user"                               \
    " AND query LIKE 'COPY issued_tokens %' AND wait_event = 'ClientRead'"                         \
    " AND query_start < now() - interval '30 seconds'"

#define OLD_MS 86400000
#define PIECE  65536 /* bytes */

enum outcome {
    WRITTEN,
    REFUSED, /* for the content of the rows */
    FAILED,  /* not now */
};

void ledger_sender_close(struct ledger_sender *sender)
{
    PQfinish(sender->connection);
    sender->connection = NULL;
}

/* Waits until the connection can be read, or written while something is to be flushed. */
static bool wait_for_peer(PGconn *connection, uint64_t deadline_ms)
{
    int unflushed = PQflush(connection);
    uint64_t now_ms = clock_monotonic_ms();
    struct pollfd poll_fd = {.fd = PQsocket(connection),
                             .events = (short)(POLLIN | (unflushed == 1 ? POLLOUT : 0))};

    if (unflushed < 0 || poll_fd.fd < 0 || now_ms >= deadline_ms)
        return false;
    poll(&poll_fd, 1, (int)(deadline_ms - now_ms));
    return PQconsumeInput(connection) == 1;
}

/* The next result; NULL ends a statement, or says that the connection is lost or silent. */
static PGresult *next_result(struct ledger_sender *sender)
{
    uint64_t deadline_ms = clock_monotonic_ms() + ANSWER_TIMEOUT_MS;

    while (PQflush(sender->connection) == 1 || PQisBusy(sender->connection)) {
        if (!wait_for_peer(sender->connection, deadline_ms)) {
            ledger_sender_close(sender);
            return NULL;
        }
    }
    return PQgetResult(sender->connection);
}

/* Takes over `result`; says what it means, and why. */
static enum outcome judge(PGresult *result, ExecStatusType expected, struct failure *failure)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    enum outcome outcome = FAILED;

    if (PQresultStatus(result) == expected) {
        outcome = WRITTEN;
    } else if (result == NULL) {
        failure_set(failure, "PostgreSQL is lost or does not answer");
    } else {
        failure_set(failure, "%s (SQLSTATE %s)", message != NULL ? message : "unexpected answer",
                    state != NULL ? state : "none");
        if (state != NULL && (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0))
            outcome = REFUSED;
    }
    PQclear(result);
    return outcome;
}

/* Runs statements by the simple protocol; gives the last one's result, or the failed one's. */
static PGresult *execute(struct ledger_sender *sender, const char *sql)
{
    PGresult *last = NULL, *result;

    if (sender->connection == NULL || PQsendQuery(sender->connection, sql) != 1)
        return NULL;
    while ((result = next_result(sender)) != NULL) {
        if (last != NULL && PQresultStatus(last) == PGRES_FATAL_ERROR) {
            PQclear(result);
        } else {
            PQclear(last);
            last = result;
        }
    }
    if (sender->connection == NULL) { /* it broke off */
        PQclear(last);
        last = NULL;
    }
    return last;
}

static bool command(struct ledger_sender *sender, const char *sql, struct failure *failure)
{
    return judge(execute(sender, sql), PGRES_COMMAND_OK, failure) == WRITTEN;
}

static bool check_schema(struct ledger_sender *sender, struct failure *failure)
{
    PGresult *result = execute(sender, MIGRATIONS_VERSION_SQL);
    bool known = migrations_check_version(result, failure);

    PQclear(result);
    return known;
}

/* What PostgreSQL says unasked, such as why it ends the connection; libpq would print it. */
static void on_notice(void *data, const PGresult *result)
{
    (void)data;
    log_info("ledger.notice",
             log_str("message", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
}

bool ledger_sender_connect(struct ledger_sender *sender, struct failure *failure)
{
    const char *const keywords[] = {
        "connect_timeout",  "keepalives_idle",  "keepalives_interval",
        "keepalives_count", "tcp_user_timeout", "fallback_application_name",
        "dbname",           "client_encoding",  NULL};
    const char *const values[] = {"5",           "10",        "5",    "3", "30000",
                                  "jotd-ledger", sender->url, "UTF8", NULL};

    /* One that was lost while it idled shows when it is read. */
    if (sender->connection != NULL && PQconsumeInput(sender->connection) == 1 &&
        PQstatus(sender->connection) == CONNECTION_OK)
        return true;
    ledger_sender_close(sender);
    sender->connection = PQconnectdbParams(keywords, values, 1);
    PQsetNoticeReceiver(sender->connection, on_notice, NULL);
    if (PQstatus(sender->connection) != CONNECTION_OK) {
        failure_set(failure, "%s", PQerrorMessage(sender->connection));
        failure_one_line(failure);
    } else if (PQsetnonblocking(sender->connection, 1) == 0 &&
               command(sender,
                       "SET synchronous_commit = on; SET timezone = 'UTC';"
                       "SET client_min_messages = error;"
                       "SET statement_timeout = '" STATEMENT_TIMEOUT "'; SET lock_timeout = '10s';"
                       "SET idle_in_transaction_session_timeout = '30s'",
                       failure) &&
               check_schema(sender, failure) &&
               judge(execute(sender, END_SILENT_COPIES), PGRES_TUPLES_OK, failure) == WRITTEN) {
        return true;
    }
    ledger_sender_close(sender);
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

/* Gives libpq the lines and their end, by pieces that it can pass on at once: it would move what is
 * left of a large one with every write. False when it does not take them: then the connection is
 * closed, since it would wait for more. */
static bool put_lines(struct ledger_sender *sender, const char *lines, size_t length)
{
    PGconn *connection = sender->connection;
    uint64_t deadline_ms = clock_monotonic_ms() + ANSWER_TIMEOUT_MS;
    bool taken = true;

    while (taken && length != 0) {
        size_t piece = length < PIECE ? length : PIECE;

        taken = PQputCopyData(connection, lines, (int)piece) == 1;
        while (taken && PQflush(connection) == 1)
            taken = wait_for_peer(connection, deadline_ms);
        lines += piece;
        length -= piece;
    }
    if (!taken || PQputCopyEnd(connection, NULL) != 1) {
        ledger_sender_close(sender);
        return false;
    }
    return true;
}

static enum outcome copy(struct ledger_sender *sender, const char *lines, size_t length,
                         struct failure *failure)
{
    enum outcome outcome = FAILED;
    uint64_t written = 0;
    PGresult *result = NULL, *rest;

    if (PQsendQuery(sender->connection,
                    "COPY issued_tokens (jti, client_id, tier, scope, audience, kid, issued_at,"
                    " expires_at) FROM STDIN") == 1)
        result = next_result(sender);
    if (PQresultStatus(result) != PGRES_COPY_IN) {
        outcome = judge(result, PGRES_COPY_IN, failure);
    } else {
        PQclear(result);
        result = put_lines(sender, lines, length) ? next_result(sender) : NULL;
        if (PQresultStatus(result) == PGRES_COMMAND_OK)
            written = strtoull(PQcmdTuples(result), NULL, 10);
        outcome = judge(result, PGRES_COMMAND_OK, failure);
    }
    while (sender->connection != NULL && (rest = next_result(sender)) != NULL)
        PQclear(rest);
    if (sender->connection == NULL)
        return FAILED;
    /* A line that COPY takes for something else, such as its end marker, is at fault. */
    if (outcome == WRITTEN && written != count_lines(lines, length))
        return failure_set(failure, "COPY took another number of rows than there are lines"),
               REFUSED;
    return outcome;
}

/* The segment is dealt with: counts it and removes it from the list and the disk. */
static void finish(struct ledger_sender *sender, struct spool *spool,
                   struct spool_segment **segments, struct spool_segment *segment)
{
    if (segment->trigger == SPOOL_RECOVERY || segment->batch != sender->counted_batch) {
        counter_add(&sender->batches[segment->trigger], 1);
        if (segment->trigger != SPOOL_RECOVERY)
            sender->counted_batch = segment->batch;
    }
    DL_DELETE(*segments, segment);
    spool_discard(spool, segment);
}

static bool is_old(const struct spool_segment *segment)
{
    return clock_unix_ms() - uuid_v7_unix_ms(&segment->id) > OLD_MS;
}

/* BEGIN and the batch ids, in one round trip. The result has the ids that are new. */
static PGresult *begin(struct ledger_sender *sender, const struct spool_segment *first,
                       size_t count)
{
    struct buffer sql = {0};
    const struct spool_segment *segment = first;
    PGresult *result;

    buffer_append_text(&sql, "BEGIN; INSERT INTO flushed_batches (batch_id, rows) VALUES ");
    for (size_t i = 0; i != count; ++i, segment = segment->next) {
        char id[UUID_TEXT_LENGTH];

        uuid_format(&segment->id, id);
        buffer_printf(&sql, "%s('%.*s', %" PRIu64 ")", i == 0 ? "" : ", ", UUID_TEXT_LENGTH, id,
                      segment->rows);
    }
    buffer_append(&sql, " ON CONFLICT DO NOTHING RETURNING batch_id",
                  sizeof(" ON CONFLICT DO NOTHING RETURNING batch_id"));
    result = execute(sender, sql.bytes);
    buffer_dispose(&sql);
    return result;
}

static bool is_new(const PGresult *ids, const struct spool_segment *segment)
{
    char id[UUID_TEXT_LENGTH];

    uuid_format(&segment->id, id);
    for (int row = 0; row != PQntuples(ids); ++row) {
        if (memcmp(PQgetvalue(ids, row, 0), id, UUID_TEXT_LENGTH) == 0)
            return true;
    }
    return false;
}

/* One transaction for the first `count` segments. */
static enum outcome send_together(struct ledger_sender *sender, struct spool_segment *first,
                                  size_t count, uint64_t *rows, struct failure *failure)
{
    PGresult *ids = begin(sender, first, count);
    struct spool_segment *segment = first;
    enum outcome outcome = WRITTEN;
    struct failure unused;

    *rows = 0;
    if (PQresultStatus(ids) != PGRES_TUPLES_OK)
        return judge(ids, PGRES_TUPLES_OK, failure), FAILED;
    for (size_t i = 0; i != count && outcome == WRITTEN; ++i, segment = segment->next) {
        if (!is_new(ids, segment)) /* it arrived, only its file stayed */
            continue;
        buffer_clear(&sender->bytes);
        outcome = spool_read(segment, &sender->bytes, failure)
                      ? copy(sender, sender->bytes.bytes, sender->bytes.size, failure)
                      : FAILED;
        *rows += segment->rows;
    }
    PQclear(ids);
    if (outcome == REFUSED)
        return command(sender, "ROLLBACK", &unused) ? REFUSED : FAILED;
    return outcome == WRITTEN && command(sender, "COMMIT", failure) ? WRITTEN : FAILED;
}

/* Lines that stood in the way, of one segment. */
struct refused {
    struct buffer lines;
    uint64_t count;
    struct failure reason; /* the last one's */
};

/* Halves what is refused until the bad lines stand alone. False when it cannot be done now. */
static bool copy_by_halves(struct ledger_sender *sender, struct slice lines,
                           struct refused *refused, struct failure *failure)
{
    const char *middle;
    size_t half;
    enum outcome outcome;

    if (lines.length == 0)
        return true;
    if (!command(sender, "SAVEPOINT half", failure))
        return false;
    outcome = copy(sender, lines.bytes, lines.length, failure);
    if (outcome == WRITTEN)
        return command(sender, "RELEASE half", failure);
    refused->reason = *failure;
    if (outcome == FAILED || !command(sender, "ROLLBACK TO half; RELEASE half", failure))
        return false;

    /* The line that holds the middle byte goes to the first half, unless it is the last. */
    middle = memchr(lines.bytes + lines.length / 2, '\n', lines.length - lines.length / 2);
    if (middle == lines.bytes + lines.length - 1)
        middle = memrchr(lines.bytes, '\n', lines.length - 1);
    if (middle == NULL) {
        buffer_append(&refused->lines, lines.bytes, lines.length);
        ++refused->count;
        return true;
    }
    half = (size_t)(middle + 1 - lines.bytes);
    return copy_by_halves(sender, (struct slice){lines.bytes, half}, refused, failure) &&
           copy_by_halves(sender, (struct slice){lines.bytes + half, lines.length - half}, refused,
                          failure);
}

/* The refused lines are on disk before the good ones are committed: a crash between sends the
 * segment again, and what was set aside is written anew. */
static bool keep_refused(struct ledger_sender *sender, const struct spool_segment *segment,
                         const struct refused *refused, struct failure *failure)
{
    struct slice lines = {refused->lines.bytes, refused->lines.size};

    if (refused->count == 0)
        return true;
    if (!spool_set_aside(sender->base, &segment->id, "rejected", lines, failure))
        return false;
    log_error("ledger.rejected", log_str("segment", segment->path),
              log_int("rows", (int64_t)refused->count), log_str("reason", refused->reason.reason));
    return true;
}

static bool send_by_halves(struct ledger_sender *sender, struct spool_segment *segment,
                           uint64_t *rows, struct failure *failure)
{
    struct refused refused = {0};
    PGresult *ids = begin(sender, segment, 1);
    bool sent = PQresultStatus(ids) == PGRES_TUPLES_OK;
    bool fresh = sent && PQntuples(ids) == 1; /* else it arrived, only its file stayed */

    *rows = 0;
    if (!sent) {
        judge(ids, PGRES_TUPLES_OK, failure);
        return false;
    }
    PQclear(ids);
    if (fresh) {
        buffer_clear(&sender->bytes);
        sent = spool_read(segment, &sender->bytes, failure) &&
               copy_by_halves(sender, (struct slice){sender->bytes.bytes, sender->bytes.size},
                              &refused, failure) &&
               keep_refused(sender, segment, &refused, failure);
    }
    sent = sent && command(sender, "COMMIT", failure);
    if (sent && fresh) {
        *rows = segment->rows - refused.count;
        counter_add(&sender->rows_rejected, refused.count);
    }
    buffer_dispose(&refused.lines);
    return sent;
}

/* Whether the watermark has passed the segment: then it may have been sent or not. The lock keeps
 * the watermark where it is until the transaction ends. */
static bool is_expired(struct ledger_sender *sender, const struct spool_segment *segment,
                       bool *expired, struct failure *failure)
{
    PGresult *result =
        execute(sender, "BEGIN; SELECT (extract(epoch FROM watermark) * 1000)::bigint"
                        " FROM ledger_state FOR SHARE");

    if (PQresultStatus(result) != PGRES_TUPLES_OK || PQntuples(result) != 1) {
        judge(result, PGRES_TUPLES_OK, failure);
        return false;
    }
    *expired = uuid_v7_unix_ms(&segment->id) < strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return true;
}

static bool set_expired_aside(struct ledger_sender *sender, struct spool_segment *segment,
                              struct failure *failure)
{
    buffer_clear(&sender->bytes);
    if (!spool_read(segment, &sender->bytes, failure) ||
        !spool_set_aside(sender->base, &segment->id, "expired",
                         (struct slice){sender->bytes.bytes, sender->bytes.size}, failure))
        return false;
    log_error("ledger.expired", log_str("segment", segment->path),
              log_int("rows", (int64_t)segment->rows),
              log_str("reason", "it is older than the batches that the database remembers; look "
                                "whether its rows are there, then `jotd ledger retry` or delete"));
    return true;
}

/* One segment, alone: an old one, or one with lines that are refused. */
static bool send_alone(struct ledger_sender *sender, struct spool_segment *segment, uint64_t *rows,
                       struct failure *failure)
{
    bool expired = false;
    struct failure unused;

    *rows = 0;
    if (is_old(segment)) {
        if (!is_expired(sender, segment, &expired, failure))
            return false;
        if (expired)
            return set_expired_aside(sender, segment, failure) &&
                   command(sender, "ROLLBACK", &unused);
        /* BEGIN within the transaction is a notice, the lock stays. */
    }
    return send_by_halves(sender, segment, rows, failure);
}

/* Takes segments that the disk does not give off the front of the list: what follows must not wait
 * for them. Their files, where there are any, are found again by the next start. */
static enum spool_synced sync_first(struct spool *spool, struct spool_segment **segments,
                                    struct spool_segment *segment, struct failure *failure)
{
    enum spool_synced synced = spool_sync(segment, failure);

    if (synced == SPOOL_LOST) {
        log_error("ledger.segment_lost", log_str("segment", segment->path),
                  log_int("rows", (int64_t)segment->rows), log_str("reason", failure->reason));
        DL_DELETE(*segments, segment);
        spool_forget(spool, segment);
    }
    return synced;
}

/* Syncs those at the front that can go into one transaction, and counts them. False when the rest
 * has to wait. */
static bool sync_some(struct spool *spool, struct spool_segment **segments, size_t *count,
                      struct failure *failure)
{
    struct spool_segment *segment, *next;

    *count = 0;
    DL_FOREACH_SAFE (*segments, segment, next) {
        enum spool_synced synced;

        if (*count == LEDGER_SEND_SEGMENTS || (*count != 0 && is_old(segment)))
            break;
        synced = sync_first(spool, segments, segment, failure);
        if (synced == SPOOL_NOT_NOW)
            return false;
        if (synced == SPOOL_SYNCED && ++*count == 1 && is_old(segment))
            break; /* an old one goes alone */
    }
    if (*count != 0 && !spool_sync_names(*segments))
        return failure_set(failure, "cannot sync the directory of %s", (*segments)->path);
    return true;
}

bool ledger_send(struct ledger_sender *sender, struct spool *spool, struct spool_segment **segments,
                 struct failure *failure)
{
    enum outcome outcome = REFUSED;
    size_t count;
    uint64_t rows = 0;

    if (!sync_some(spool, segments, &count, failure))
        return false;
    if (count == 0)
        return true;
    if (!is_old(*segments))
        outcome = send_together(sender, *segments, count, &rows, failure);
    if (outcome == WRITTEN)
        counter_add(&sender->rows_written, rows);
    /* Together they were refused, so one of them is at fault: each for itself. */
    for (; count != 0 && outcome != FAILED; --count) {
        if (outcome == REFUSED) {
            if (!send_alone(sender, *segments, &rows, failure)) {
                outcome = FAILED;
                break;
            }
            counter_add(&sender->rows_written, rows);
        }
        finish(sender, spool, segments, *segments);
    }
    if (outcome == FAILED)
        ledger_sender_close(sender);
    return outcome != FAILED;
}

bool ledger_maintain(struct ledger_sender *sender, struct failure *failure)
{
    enum outcome outcome;

    outcome =
        judge(execute(sender, "SELECT make_issued_tokens_partitions()"), PGRES_TUPLES_OK, failure);
    if (outcome == WRITTEN)
        outcome = judge(execute(sender, LEDGER_FORGET_BATCHES_SQL), PGRES_COMMAND_OK, failure);
    return outcome == WRITTEN;
}
