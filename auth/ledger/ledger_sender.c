/* Several segments go in one transaction. If PostgreSQL refuses it because of the rows' content,
 * each segment is sent alone and halved until the bad lines are found, which are set aside. Any
 * other failure will pass, so the segments stay and are retried.
 */
#include "auth/ledger/ledger_sender.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/spool/spool_passed_over.h"
#include "common/spool/spool_segment.h"

#define OLD_MS         86400000
#define FORGET_AT_ONCE "100000" /* batches, or revoked tokens */

void ledger_sender_open(struct ledger_sender *sender, const char *url, const char *base)
{
    sender->pg = (struct pg_blocking){.name = LEDGER_PG_NAME,
                                      .url = url,
                                      .answer_timeout_ms = LEDGER_PG_ANSWER_TIMEOUT_MS};
    sender->base = base;
}

/* Counts a finished segment, and removes it from the list and the disk. */
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

/* BEGIN and the batch ids, in one round trip. The result holds the ids that are new. */
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
    result = pg_blocking_execute(&sender->pg, sql.bytes);
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

/* A segment's refused lines are on disk before its good ones are committed. They replace what an
 * uncommitted attempt set aside: fewer lines, or none, may be refused now. */
static bool set_refused_aside(struct ledger_sender *sender, const struct spool_segment *segment,
                              struct slice lines, struct failure *failure)
{
    return spool_segment_set_aside(sender->base, segment->name, "rejected", lines, failure);
}

/* Of the current segment. */
static struct slice bytes_of(const struct ledger_sender *sender)
{
    return (struct slice){sender->bytes.bytes, sender->bytes.size};
}

/* Sends the first `count` segments in one transaction. */
static enum ledger_outcome send_together(struct ledger_sender *sender, struct spool_segment *first,
                                         size_t count, uint64_t *rows, struct failure *failure)
{
    PGresult *ids = begin(sender, first, count);
    struct spool_segment *segment = first;
    enum ledger_outcome outcome = LEDGER_WRITTEN;
    struct failure unused;

    *rows = 0;
    if (PQresultStatus(ids) != PGRES_TUPLES_OK)
        return ledger_pg_judge(ids, PGRES_TUPLES_OK, failure), LEDGER_FAILED;
    for (size_t i = 0; i != count && outcome == LEDGER_WRITTEN; ++i, segment = segment->next) {
        if (!is_new(ids, segment)) /* already written; only its file remained */
            continue;
        if (!set_refused_aside(sender, segment, (struct slice){0}, failure)) {
            outcome = LEDGER_FAILED;
            break;
        }
        buffer_clear(&sender->bytes);
        outcome = spool_segment_read(segment, &sender->bytes, failure)
                      ? ledger_pg_copy(&sender->pg, segment->format, bytes_of(sender), failure)
                      : LEDGER_FAILED;
        *rows += segment->rows;
    }
    PQclear(ids);
    if (outcome == LEDGER_REFUSED)
        return ledger_pg_command(&sender->pg, "ROLLBACK", &unused) ? LEDGER_REFUSED : LEDGER_FAILED;
    return outcome == LEDGER_WRITTEN && ledger_pg_command(&sender->pg, "COMMIT", failure)
               ? LEDGER_WRITTEN
               : LEDGER_FAILED;
}

/* The refused lines of one segment. */
struct refused {
    unsigned format;
    struct buffer lines;
    uint64_t count;
    struct failure reason; /* for the last one */
};

/* Halves what is refused until the bad lines stand alone. False if it cannot be done now. */
static bool copy_by_halves(struct ledger_sender *sender, struct slice lines,
                           struct refused *refused, struct failure *failure)
{
    const char *middle;
    size_t half;
    enum ledger_outcome outcome;

    if (lines.length == 0)
        return true;
    if (!ledger_pg_command(&sender->pg, "SAVEPOINT half", failure))
        return false;
    outcome = ledger_pg_copy(&sender->pg, refused->format, lines, failure);
    if (outcome == LEDGER_WRITTEN)
        return ledger_pg_command(&sender->pg, "RELEASE half", failure);
    refused->reason = *failure;
    if (outcome == LEDGER_FAILED ||
        !ledger_pg_command(&sender->pg, "ROLLBACK TO half; RELEASE half", failure))
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

static bool keep_refused(struct ledger_sender *sender, const struct spool_segment *segment,
                         const struct refused *refused, struct failure *failure)
{
    struct slice lines = {refused->lines.bytes, refused->lines.size};

    if (!set_refused_aside(sender, segment, lines, failure))
        return false;
    if (refused->count == 0)
        return true;
    log_error("ledger.rejected", log_str("segment", segment->path),
              log_int("rows", (int64_t)refused->count), log_str("reason", refused->reason.reason));
    return true;
}

static bool send_by_halves(struct ledger_sender *sender, struct spool_segment *segment,
                           uint64_t *rows, struct failure *failure)
{
    struct refused refused = {.format = segment->format};
    PGresult *ids = begin(sender, segment, 1);
    bool sent = PQresultStatus(ids) == PGRES_TUPLES_OK;
    bool fresh = sent && PQntuples(ids) == 1; /* otherwise already written */

    *rows = 0;
    if (!sent) {
        ledger_pg_judge(ids, PGRES_TUPLES_OK, failure);
        return false;
    }
    PQclear(ids);
    if (fresh) {
        buffer_clear(&sender->bytes);
        sent = spool_segment_read(segment, &sender->bytes, failure) &&
               copy_by_halves(sender, bytes_of(sender), &refused, failure) &&
               keep_refused(sender, segment, &refused, failure);
    }
    sent = sent && ledger_pg_command(&sender->pg, "COMMIT", failure);
    if (sent && fresh) {
        *rows = segment->rows - refused.count;
        counter_add(&sender->rows_rejected, refused.count);
    }
    buffer_dispose(&refused.lines);
    return sent;
}

/* Whether the watermark has passed the segment, so that nobody can tell whether it was sent. Begins
 * a transaction, which locks the watermark until it ends. */
static bool is_expired(struct ledger_sender *sender, const struct spool_segment *segment,
                       bool *expired, struct failure *failure)
{
    PGresult *result = pg_blocking_execute(
        &sender->pg, "BEGIN; SELECT (extract(epoch FROM ledger_watermark()) * 1000)::bigint");

    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        return ledger_pg_judge(result, PGRES_TUPLES_OK, failure), false;
    if (PQntuples(result) != 1 || PQgetisnull(result, 0, 0)) {
        PQclear(result);
        return failure_set(failure, "the table ledger_state has lost its row; restore it");
    }
    *expired = uuid_v7_unix_ms(&segment->id) < strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    PQclear(result);
    return true;
}

static bool set_expired_aside(struct ledger_sender *sender, struct spool_segment *segment,
                              struct failure *failure)
{
    buffer_clear(&sender->bytes);
    if (!spool_segment_read(segment, &sender->bytes, failure) ||
        !spool_segment_set_aside(sender->base, segment->name, "expired", bytes_of(sender), failure))
        return false;
    log_error("ledger.expired", log_str("segment", segment->path),
              log_int("rows", (int64_t)segment->rows),
              log_str("reason", "it is older than the batches that the database remembers; look "
                                "whether its rows are there, then `jotd ledger retry` or delete"));
    return true;
}

/* Sends one segment alone: an old one, or one that may hold bad lines. */
static bool send_alone(struct ledger_sender *sender, struct spool_segment *segment, uint64_t *rows,
                       struct failure *failure)
{
    bool expired = false;

    *rows = 0;
    if (is_old(segment)) {
        if (!is_expired(sender, segment, &expired, failure))
            return false;
        if (expired)
            return set_expired_aside(sender, segment, failure) &&
                   ledger_pg_command(&sender->pg, "ROLLBACK", failure);
        /* A second BEGIN only draws a warning, and the lock stays. */
    }
    return send_by_halves(sender, segment, rows, failure);
}

/* Syncs a segment. One that the disk has lost is dropped from the list, so that the rest do not
 * wait for it; the next start finds its file again, if there is one. */
static enum spool_synced sync_first(struct ledger_sender *sender, struct spool *spool,
                                    struct spool_segment **segments, struct spool_segment *segment,
                                    struct failure *failure)
{
    enum spool_synced synced = spool_segment_sync(segment, failure);

    if (synced == SPOOL_LOST) {
        log_error("ledger.segment_lost", log_str("segment", segment->path),
                  log_int("rows", (int64_t)segment->rows), log_str("reason", failure->reason));
        counter_add(&sender->passed_over.files, 1);
        DL_DELETE(*segments, segment);
        spool_forget(spool, segment);
    }
    return synced;
}

/* Syncs the segments at the front that can share a transaction, and counts them. False if they must
 * wait. */
static bool sync_some(struct ledger_sender *sender, struct spool *spool,
                      struct spool_segment **segments, size_t *count, struct failure *failure)
{
    struct spool_segment *segment, *next;

    *count = 0;
    DL_FOREACH_SAFE (*segments, segment, next) {
        enum spool_synced synced;

        if (*count == LEDGER_SEND_SEGMENTS || (*count != 0 && is_old(segment)))
            break;
        synced = sync_first(sender, spool, segments, segment, failure);
        if (synced == SPOOL_NOT_NOW)
            return false;
        if (synced == SPOOL_SYNCED && ++*count == 1 && is_old(segment))
            break; /* an old one goes alone */
    }
    if (*count != 0 && !spool_segment_sync_names(*segments))
        return failure_set(failure, "cannot sync the directory of %s", (*segments)->path);
    return true;
}

bool ledger_sender_send(struct ledger_sender *sender, struct spool *spool,
                        struct spool_segment **segments, struct failure *failure)
{
    enum ledger_outcome outcome = LEDGER_REFUSED;
    size_t count;
    uint64_t rows = 0;

    if (!sync_some(sender, spool, segments, &count, failure))
        return false;
    if (count == 0)
        return true;
    if (!is_old(*segments))
        outcome = send_together(sender, *segments, count, &rows, failure);
    if (outcome == LEDGER_WRITTEN)
        counter_add(&sender->rows_written, rows);
    /* If they were refused together, or the first one is old, each goes alone. */
    for (; count != 0 && outcome != LEDGER_FAILED; --count) {
        if (outcome == LEDGER_REFUSED) {
            if (!send_alone(sender, *segments, &rows, failure)) {
                outcome = LEDGER_FAILED;
                break;
            }
            counter_add(&sender->rows_written, rows);
        }
        finish(sender, spool, segments, *segments);
    }
    if (outcome == LEDGER_FAILED)
        pg_blocking_close(&sender->pg);
    return outcome != LEDGER_FAILED;
}

void ledger_sender_dispose(struct ledger_sender *sender)
{
    pg_blocking_close(&sender->pg);
    buffer_dispose(&sender->bytes);
    spool_passed_over_dispose(&sender->passed_over);
}

/* Runs a function that forgets up to FORGET_AT_ONCE rows; `more` is set when there may be more. */
static bool forget(struct ledger_sender *sender, const char *sql, bool *more,
                   struct failure *failure)
{
    PGresult *result = pg_blocking_execute(&sender->pg, sql);

    *more |= PQntuples(result) == 1 && strcmp(PQgetvalue(result, 0, 0), FORGET_AT_ONCE) == 0;
    return ledger_pg_judge(result, PGRES_TUPLES_OK, failure) == LEDGER_WRITTEN;
}

/* The steps are independent: one may work where another fails. The first failure is told. */
bool ledger_sender_maintain(struct ledger_sender *sender, bool *more, struct failure *failure)
{
    PGresult *result = pg_blocking_execute(&sender->pg, "SELECT make_issued_tokens_partitions()");
    bool made = ledger_pg_judge(result, PGRES_TUPLES_OK, failure) == LEDGER_WRITTEN;
    struct failure other;

    *more = false;
    made &= forget(sender, "SELECT forget_flushed_batches(" FORGET_AT_ONCE ")", more,
                   made ? failure : &other);
    return made & forget(sender, "SELECT forget_revoked_tokens(" FORGET_AT_ONCE ")", more,
                         made ? failure : &other);
}
