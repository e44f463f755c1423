/* Functions are in the order of a connection's life: connect, read the table, hear notifications,
 * write revocations, beat, sweep.
 */
#include "auth/feed.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "auth/migrations.h"
#include "auth/token/revoked_tokens.h"
#include "common/buffer.h"
#include "common/clock.h"
#include "common/log.h"

#define ANSWER_TIMEOUT_MS 5000
#define BEAT_EVERY_MS     5000
#define BEAT_WITHIN_MS    2000
#define SWEEP_EVERY_MS    60000
#define BACKOFF_MIN_MS    50
#define BACKOFF_MAX_MS    2000
#define REVOKE_AT_ONCE    1000 /* in one statement */
#define NICE              10   /* workers go first, while a million revoked tokens are read too */
#define CLOCK_STEP_MS     1000 /* the clock is set back, not slewed */
#define LOOK_EVERY_MS     1000 /* whether it was */
#define RETRY_MS          2000 /* for which revocations of a failed statement are tried alone */
#define CURSOR_SIZE       sizeof(((struct feed *)0)->cursor)

static void wake(int fd)
{
    uint64_t one = 1;

    (void)!write(fd, &one, sizeof(one)); /* fails only when it is awake already */
}

static void take_wake(int fd)
{
    uint64_t count;

    (void)!read(fd, &count, sizeof(count));
}

/* Jobs */

/* Hands jobs back to the workers that asked. */
static void finish(struct feed *feed, struct feed_job **jobs)
{
    struct feed_job *job;

    pthread_mutex_lock(&feed->mutex);
    while ((job = *jobs) != NULL) {
        DL_DELETE(*jobs, job);
        DL_APPEND(job->port->done, job);
        wake(job->port->fd);
    }
    pthread_mutex_unlock(&feed->mutex);
}

static void on_done(struct watch *watch)
{
    struct feed_port *port = H2O_STRUCT_FROM_MEMBER(struct feed_port, watch, watch);
    struct feed_job *done, *job;

    take_wake(port->fd);
    pthread_mutex_lock(&port->feed->mutex);
    done = port->done;
    port->done = NULL;
    pthread_mutex_unlock(&port->feed->mutex);
    while ((job = done) != NULL) {
        DL_DELETE(done, job);
        job->on_done(job);
    }
}

bool feed_port_open(struct feed_port *port, struct feed *feed, h2o_loop_t *loop)
{
    *port = (struct feed_port){.feed = feed, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    port->watch.on_ready = on_done;
    return port->fd != -1 && watch_open(&port->watch, loop, port->fd);
}

void feed_port_close(struct feed_port *port)
{
    struct feed_job *job;

    if (port->feed == NULL)
        return;
    watch_close(&port->watch);
    if (port->fd != -1)
        close(port->fd);
    while ((job = port->done) != NULL) {
        DL_DELETE(port->done, job);
        job->on_done(job);
    }
    port->feed = NULL;
}

static bool add_job(struct feed_port *port, struct feed_job *job, struct feed_job **queue,
                    size_t *count, size_t max)
{
    struct feed *feed = port->feed;
    bool taken;

    job->port = port;
    pthread_mutex_lock(&feed->mutex);
    taken = feed->connected && *count != max;
    if (taken) {
        DL_APPEND(*queue, job);
        ++*count;
    }
    pthread_mutex_unlock(&feed->mutex);
    if (taken)
        wake(feed->fd);
    return taken;
}

bool feed_port_revoke(struct feed_port *port, struct feed_revocation *revocation)
{
    struct feed *feed = port->feed;

    revocation->recorded = false;
    return add_job(port, &revocation->job, &feed->revocations, &feed->revocation_count,
                   FEED_QUEUE_MAX);
}

bool feed_port_read(struct feed_port *port, struct feed_page *page)
{
    struct feed *feed = port->feed;

    page->result = NULL;
    return add_job(port, &page->job, &feed->pages, &feed->page_count, FEED_PAGES_MAX);
}

/* Up to `max` jobs off a queue. */
static struct feed_job *take(struct feed *feed, struct feed_job **queue, size_t *count, size_t max)
{
    struct feed_job *taken = NULL, *job;

    pthread_mutex_lock(&feed->mutex);
    for (size_t i = 0; i != max && (job = *queue) != NULL; ++i) {
        DL_DELETE(*queue, job);
        --*count;
        DL_APPEND(taken, job);
    }
    pthread_mutex_unlock(&feed->mutex);
    return taken;
}

static struct feed_job *take_revocations(struct feed *feed)
{
    return take(feed, &feed->revocations, &feed->revocation_count, REVOKE_AT_ONCE);
}

static struct feed_job *take_page(struct feed *feed)
{
    return take(feed, &feed->pages, &feed->page_count, 1);
}

static void set_connected(struct feed *feed, bool connected)
{
    pthread_mutex_lock(&feed->mutex);
    feed->connected = connected;
    pthread_mutex_unlock(&feed->mutex);
}

/* Notifications */

/* False when it is no transaction id. */
static bool copy_cursor(char cursor[CURSOR_SIZE], const char *text)
{
    size_t digits = strspn(text, "0123456789");

    if (digits == 0 || digits >= CURSOR_SIZE || text[digits] != '\0')
        return false;
    memcpy(cursor, text, digits + 1);
    return true;
}

/* What was committed before our own notification was sent has been heard before it. */
static void hear_beat(struct feed *feed)
{
    feed->heard_ms = feed->beat_sent_ms;
    feed->beat_sent_ms = 0;
    feed->beat_at_ms = clock_monotonic_ms() + feed->beat_every_ms;
}

/* The payload is a jti and an expiry. Any other asks for everything that may be new, as `*` does.
 */
static void hear_revoked(struct feed *feed, const char *payload)
{
    struct slice jti = {payload, strnlen(payload, UUID_TEXT_LENGTH)};

    if (feed->told_count != FEED_TOLD_MAX && uuid_parse(jti, feed->told + feed->told_count))
        ++feed->told_count;
    else
        feed->is_behind = true;
}

static void hear(struct feed *feed)
{
    PGnotify *notification;

    while (feed->pg.connection != NULL &&
           (notification = PQnotifies(feed->pg.connection)) != NULL) {
        if (strcmp(notification->relname, feed->beat_channel) == 0)
            hear_beat(feed);
        else
            hear_revoked(feed, notification->extra);
        PQfreemem(notification);
    }
}

/* Transactions before the oldest that has not ended have notified before this does. */
static bool send_beat(struct feed *feed, struct failure *failure)
{
    const char *const values[] = {feed->beat_channel};
    PGresult *result = NULL;
    bool sound;

    feed->beat_sent_ms = clock_monotonic_ms();
    if (!pg_blocking_query(&feed->pg,
                           "SELECT pg_notify($1, ''), pg_snapshot_xmin(pg_current_snapshot())", 1,
                           values, &result, failure))
        return false;
    sound = PQntuples(result) == 1 && PQnfields(result) == 2 &&
            copy_cursor(feed->beat_cursor, PQgetvalue(result, 0, 1));
    PQclear(result);
    return sound || failure_set(failure, "PostgreSQL says no transaction id");
}

/* The table */

static void add(struct feed *feed, const struct uuid *jti, int64_t expires_at)
{
    if (!denylist_add(&feed->denylist, jti, expires_at, clock_unix_ms() / 1000))
        feed->overflowed = true;
}

/* The oldest transaction that may still commit, then jti and expiry, or \\N for both when there is
 * nothing new. All from one snapshot. */
#define READ_SQL                                                                                   \
    "COPY (SELECT pg_snapshot_xmin(pg_current_snapshot()), r.jti,"                                 \
    " ceil(extract(epoch FROM r.expires_at))::bigint FROM (SELECT) AS one"                         \
    " LEFT JOIN revoked_tokens r ON r.xid >= '%s'::xid8 AND r." REVOKED_TOKENS_LIVE_SQL            \
    ") TO STDOUT"

/* Reads a row of that: notes the cursor, and adds and counts a token. False when it is none. */
static bool read_row(struct feed *feed, const char *row, size_t length, char cursor[CURSOR_SIZE],
                     uint64_t *tokens)
{
    size_t digits = strspn(row, "0123456789");
    const char *rest = row + digits + 1;
    struct uuid jti;

    if (digits == 0 || digits >= CURSOR_SIZE || row[digits] != '\t')
        return false;
    memcpy(cursor, row, digits);
    cursor[digits] = '\0';
    if (strcmp(rest, "\\N\t\\N\n") == 0)
        return true;
    if (length < digits + 1 + UUID_TEXT_LENGTH + 2 ||
        !uuid_parse((struct slice){rest, UUID_TEXT_LENGTH}, &jti) || rest[UUID_TEXT_LENGTH] != '\t')
        return false;
    add(feed, &jti, strtoll(rest + UUID_TEXT_LENGTH, NULL, 10));
    ++*tokens;
    return true;
}

/* Adds what was revoked by transactions from the cursor on. What a transaction adds that may still
 * commit is read next time. */
static bool read_table(struct feed *feed, uint64_t *tokens, struct failure *failure)
{
    uint64_t began_ms = clock_monotonic_ms();
    char cursor[CURSOR_SIZE] = "", sql[512], *row;
    bool sound = true;
    size_t length;

    feed->is_behind = false;
    feed->told_count = 0; /* they are in the table by now */
    *tokens = 0;
    snprintf(sql, sizeof(sql), READ_SQL, feed->cursor);
    if (!pg_blocking_copy(&feed->pg, sql, failure))
        return false;
    while ((row = pg_blocking_next_row(&feed->pg, &length)) != NULL) {
        sound = sound && read_row(feed, row, length, cursor, tokens);
        PQfreemem(row);
    }
    if (!pg_blocking_end_copy(&feed->pg, failure))
        return false;
    if (!sound || *cursor == '\0')
        return failure_set(failure, "revoked_tokens is not as it should be");
    memcpy(feed->cursor, cursor, sizeof(cursor));
    atomic_store_explicit(&feed->denylist.complete_ms, began_ms, memory_order_release);
    return true;
}

/* Reads what the rows of notified tokens say. */
static bool read_told(struct feed *feed, struct failure *failure)
{
    struct buffer jtis = {0};
    PGresult *result = NULL;
    bool read;

    for (size_t i = 0; i != feed->told_count; ++i) {
        buffer_append_text(&jtis, i == 0 ? "{" : ",");
        uuid_format(feed->told + i, buffer_reserve(&jtis, UUID_TEXT_LENGTH));
        jtis.size += UUID_TEXT_LENGTH;
    }
    buffer_append(&jtis, "}", sizeof("}"));
    feed->told_count = 0;
    read = pg_blocking_query(&feed->pg,
                             "SELECT jti, ceil(extract(epoch FROM expires_at))::bigint"
                             " FROM revoked_tokens WHERE jti = ANY ($1::uuid[])",
                             1, (const char *const[]){jtis.bytes}, &result, failure);
    buffer_dispose(&jtis);
    for (int row = 0; read && row != PQntuples(result); ++row) {
        struct uuid jti;

        if (PQnfields(result) == 2 && uuid_parse(slice_of(PQgetvalue(result, row, 0)), &jti))
            add(feed, &jti, strtoll(PQgetvalue(result, row, 1), NULL, 10));
        else
            read = failure_set(failure, "revoked_tokens is not as it should be");
    }
    PQclear(result);
    return read;
}

/* Reads what was heard of. Once that is done, all is known that was committed before the last beat,
 * and the next read of the table goes on from there. */
static bool catch_up(struct feed *feed, struct failure *failure)
{
    uint64_t tokens;

    if (feed->is_behind) {
        feed->heard_ms = 0; /* the table tells more */
        return read_table(feed, &tokens, failure);
    }
    if (feed->told_count != 0 && !read_told(feed, failure))
        return false;
    if (feed->heard_ms != 0) {
        atomic_store_explicit(&feed->denylist.complete_ms, feed->heard_ms, memory_order_release);
        memcpy(feed->cursor, feed->beat_cursor, sizeof(feed->cursor));
    }
    feed->heard_ms = 0;
    return true;
}

/* Everything again: after a new connection, or when there is room again. */
static bool read_all(struct feed *feed, struct failure *failure)
{
    uint64_t began_ms = clock_monotonic_ms(), tokens;

    snprintf(feed->cursor, sizeof(feed->cursor), "0");
    feed->overflowed = false;
    /* A million rows may take longer than other statements. */
    if (!pg_blocking_query(&feed->pg, "SET statement_timeout = '60s'", 0, NULL, NULL, failure) ||
        !read_table(feed, &tokens, failure) ||
        !pg_blocking_query(&feed->pg, "SET statement_timeout = '4s'", 0, NULL, NULL, failure))
        return false;
    if (!feed->overflowed)
        atomic_store(&feed->denylist.full, false);
    log_info("revocations.loaded", log_int("tokens", (int64_t)tokens),
             log_int("ms", (int64_t)(clock_monotonic_ms() - began_ms)));
    return true;
}

/* Revocations */

static struct feed_revocation *revocation_of(struct feed_job *job)
{
    return H2O_STRUCT_FROM_MEMBER(struct feed_revocation, job, job);
}

/* The values as three arrays of PostgreSQL, which need no quoting here. */
static bool insert(struct feed *feed, struct feed_job *jobs, struct failure *failure)
{
    struct buffer jtis = {0}, clients = {0}, expiries = {0};
    const char *separator = "{", *values[3];
    struct feed_job *job;
    bool inserted;

    DL_FOREACH (jobs, job) {
        const struct feed_revocation *revocation = revocation_of(job);

        buffer_append_text(&jtis, separator);
        uuid_format(&revocation->jti, buffer_reserve(&jtis, UUID_TEXT_LENGTH));
        jtis.size += UUID_TEXT_LENGTH;
        buffer_printf(&clients, "%s\"%s\"", separator, revocation->client_id);
        buffer_printf(&expiries, "%s%" PRId64, separator, revocation->expires_at);
        separator = ",";
    }
    buffer_append(&jtis, "}", sizeof("}"));
    buffer_append(&clients, "}", sizeof("}"));
    buffer_append(&expiries, "}", sizeof("}"));
    values[0] = jtis.bytes;
    values[1] = clients.bytes;
    values[2] = expiries.bytes;
    inserted = pg_blocking_query(
        &feed->pg,
        "INSERT INTO revoked_tokens (jti, client_id, expires_at, reason)"
        " SELECT jti, client_id, to_timestamp(expiry), 'revoked by its client'"
        " FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS asked (jti, client_id, expiry)"
        " ON CONFLICT DO NOTHING",
        3, values, NULL, failure);
    buffer_dispose(&jtis);
    buffer_dispose(&clients);
    buffer_dispose(&expiries);
    return inserted;
}

/* Here they count from the commit on, before anybody is told. */
static bool record(struct feed *feed, struct feed_job *jobs, struct failure *failure)
{
    struct feed_job *job;

    if (feed->pg.connection == NULL || !insert(feed, jobs, failure))
        return false;
    DL_FOREACH (jobs, job) {
        revocation_of(job)->recorded = true;
        add(feed, &revocation_of(job)->jti, revocation_of(job)->expires_at);
    }
    return true;
}

/* One whose row is locked, or refused, costs the others of its statement no more than time. */
static bool record_alone(struct feed *feed, struct feed_job **jobs, struct failure *failure)
{
    uint64_t until_ms = clock_monotonic_ms() + RETRY_MS;
    struct feed_job *tried = NULL, *alone = NULL, *job;
    bool all = true;

    while ((job = *jobs) != NULL && clock_monotonic_ms() < until_ms) {
        DL_DELETE(*jobs, job);
        DL_APPEND(alone, job);
        all &= record(feed, alone, failure);
        DL_DELETE(alone, job);
        DL_APPEND(tried, job);
    }
    all &= *jobs == NULL;
    DL_CONCAT(*jobs, tried);
    return all;
}

/* Writes what is in the queue. False when the connection is lost. */
static bool write_revocations(struct feed *feed, struct failure *failure)
{
    struct feed_job *jobs;

    while (feed->pg.connection != NULL && (jobs = take_revocations(feed)) != NULL) {
        if (!record(feed, jobs, failure) &&
            (feed->pg.connection == NULL || !record_alone(feed, &jobs, failure)))
            log_warn("revocations.not_recorded", log_str("reason", failure->reason));
        finish(feed, &jobs);
        hear(feed);
    }
    return feed->pg.connection != NULL;
}

/* Reads one page; the next waits until the rest of a turn is done. */
static bool read_page(struct feed *feed, struct failure *failure)
{
    struct feed_job *job = take_page(feed);
    struct feed_page *page = H2O_STRUCT_FROM_MEMBER(struct feed_page, job, job);

    if (job == NULL)
        return true;
    if (!pg_blocking_query(&feed->pg, REVOKED_TOKENS_PAGE_SQL, 2,
                           (const char *const[]){page->xid, page->jti}, &page->result, failure))
        log_warn("revocations.not_read", log_str("reason", failure->reason));
    finish(feed, &job);
    return feed->pg.connection != NULL;
}

/* The connection */

static bool check_schema(struct feed *feed, struct failure *failure)
{
    PGresult *result = NULL;
    bool known;

    if (!pg_blocking_query(&feed->pg, MIGRATIONS_VERSION_SQL, 0, NULL, &result, failure))
        return false;
    known = migrations_check_version(result, failure);
    PQclear(result);
    return known;
}

/* A pooler in between may swallow notifications, so the first of our own is waited for. */
static bool hear_own(struct feed *feed, struct failure *failure)
{
    uint64_t until_ms;

    if (!send_beat(feed, failure))
        return false;
    until_ms = clock_monotonic_ms() + BEAT_WITHIN_MS;
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();

        hear(feed);
        if (feed->beat_sent_ms == 0) {
            feed->heard_ms = 0; /* nothing is complete before the table is read */
            return true;
        }
        if (now_ms >= until_ms)
            return failure_set(failure, "its own notification does not come back: connect to "
                                        "PostgreSQL itself, not to a pooler");
        if (!pg_blocking_wait(&feed->pg, -1, until_ms - now_ms))
            return failure_set(failure, "PostgreSQL is lost");
    }
}

static bool set_up(struct feed *feed, struct failure *failure)
{
    char listen[64];

    snprintf(feed->beat_channel, sizeof(feed->beat_channel), "beat_%08x%08x", arc4random(),
             arc4random());
    snprintf(listen, sizeof(listen), "LISTEN %s", feed->beat_channel);
    return pg_blocking_connect(&feed->pg, failure) && check_schema(feed, failure) &&
           pg_blocking_query(&feed->pg, "SET lock_timeout = '1s'", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, "SET synchronous_commit = on", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, "LISTEN jotd_revoked", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, listen, 0, NULL, NULL, failure) &&
           hear_own(feed, failure) && read_all(feed, failure);
}

/* Whether the wall clock was set back since the last call: what seemed expired before that, and was
 * not kept, has to be read again. */
static bool was_set_back(struct feed *feed)
{
    int64_t clocks_ms = clock_unix_ms() - (int64_t)clock_monotonic_ms();
    bool set_back = clocks_ms < feed->clocks_ms - CLOCK_STEP_MS;

    feed->clocks_ms = clocks_ms;
    return set_back;
}

/* Forgets what has expired, and reads everything again if it did not fit before, or when the clock
 * was set back. */
static bool sweep(struct feed *feed, uint64_t now_ms, struct failure *failure)
{
    bool read = was_set_back(feed);

    if (now_ms >= feed->sweep_at_ms) {
        feed->sweep_at_ms = now_ms + SWEEP_EVERY_MS;
        denylist_sweep(&feed->denylist, clock_unix_ms() / 1000);
        read |= atomic_load(&feed->denylist.full);
    }
    return !read || read_all(feed, failure);
}

/* Whether there is more to do than to wait. */
static bool is_busy(struct feed *feed)
{
    bool busy;

    pthread_mutex_lock(&feed->mutex);
    busy = feed->is_behind || feed->told_count != 0 || feed->pages != NULL ||
           feed->revocations != NULL;
    pthread_mutex_unlock(&feed->mutex);
    return busy;
}

/* Does what is due on a connection; false when it is lost. */
static bool turn(struct feed *feed, struct failure *failure)
{
    uint64_t now_ms = clock_monotonic_ms(), at_ms;

    hear(feed);
    if (!catch_up(feed, failure) || !write_revocations(feed, failure) ||
        !read_page(feed, failure) || !sweep(feed, now_ms, failure))
        return false;
    if (feed->beat_sent_ms != 0 && now_ms - feed->beat_sent_ms > ANSWER_TIMEOUT_MS)
        return failure_set(failure, "its own notification did not come back in time");
    if (feed->beat_sent_ms == 0 && now_ms >= feed->beat_at_ms && !send_beat(feed, failure))
        return false;
    instance_note_if_due(&feed->instance, &feed->pg);
    hear(feed);
    if (feed->pg.connection == NULL)
        return failure_set(failure, "PostgreSQL is lost");
    if (is_busy(feed))
        return true;
    at_ms = feed->beat_sent_ms != 0 ? feed->beat_sent_ms + ANSWER_TIMEOUT_MS + 1 : feed->beat_at_ms;
    if (at_ms > now_ms + LOOK_EVERY_MS)
        at_ms = now_ms + LOOK_EVERY_MS;
    if (!pg_blocking_wait(&feed->pg, feed->fd, at_ms > now_ms ? at_ms - now_ms : 0))
        return failure_set(failure, "PostgreSQL is lost");
    take_wake(feed->fd);
    return true;
}

static void note_stale(struct feed *feed)
{
    bool stale = !denylist_is_current(&feed->denylist, feed->stale_ms);

    if (stale && !feed->is_stale && atomic_load(&feed->denylist.complete_ms) != 0)
        log_error("revocations.stale",
                  log_str("reason", atomic_load(&feed->denylist.full)
                                        ? "there are more revoked tokens than fit into memory: "
                                          "/introspect answers 503 until some have expired"
                                        : "PostgreSQL has been away for JOTD_REVOCATION_STALE: "
                                          "/introspect answers 503 until it is back"));
    if (!stale && feed->is_stale)
        log_info("revocations.current", log_str("reason", "all revocations are known again"));
    feed->is_stale = stale;
}

/* Waits for the next attempt, or for the stop. */
static void pause_for(struct feed *feed, uint64_t duration_ms)
{
    struct pollfd poll_fd = {.fd = feed->fd, .events = POLLIN};

    if (!atomic_load(&feed->stopping))
        poll(&poll_fd, 1, (int)duration_ms);
    take_wake(feed->fd);
}

static void lose(struct feed *feed, const struct failure *failure)
{
    struct feed_job *jobs;

    set_connected(feed, false);
    pg_blocking_close(&feed->pg);
    while ((jobs = take_revocations(feed)) != NULL || (jobs = take_page(feed)) != NULL)
        finish(feed, &jobs);
    feed->beat_sent_ms = 0;
    atomic_store(&feed->settled, true);
    if (!atomic_load(&feed->stopping) && strcmp(failure->reason, feed->last.reason) != 0)
        log_warn("feed.lost", log_str("reason", failure->reason));
    feed->last = *failure;
}

/* One connection, from beginning to end. */
static void live(struct feed *feed)
{
    struct failure failure = {""};

    if (set_up(feed, &failure)) {
        log_info("feed.connected", log_str("host", PQhost(feed->pg.connection)),
                 log_str("port", PQport(feed->pg.connection)));
        backoff_reset(&feed->backoff);
        feed->last.reason[0] = '\0';
        set_connected(feed, true);
        atomic_store(&feed->settled, true);
        do
            note_stale(feed);
        while (!atomic_load(&feed->stopping) && turn(feed, &failure));
        if (atomic_load(&feed->stopping) && feed->pg.connection != NULL)
            instance_note(&feed->instance, &feed->pg);
    }
    if (!atomic_load(&feed->stopping))
        lose(feed, &failure);
}

static void *run(void *data)
{
    struct feed *feed = data;

    (void)setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone */
    while (!atomic_load(&feed->stopping)) {
        live(feed);
        note_stale(feed);
        if (!atomic_load(&feed->stopping))
            pause_for(feed, backoff_pause_ms(&feed->backoff));
    }
    lose(feed, &(struct failure){"the server is stopping"});
    atomic_store(&feed->ended, true);
    return NULL;
}

bool feed_open(struct feed *feed, const char *url, uint64_t stale_ms, struct failure *failure)
{
    pthread_mutex_init(&feed->mutex, NULL);
    feed->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    feed->pg =
        (struct pg_blocking){.name = "feed", .url = url, .answer_timeout_ms = ANSWER_TIMEOUT_MS};
    feed->stale_ms = stale_ms;
    feed->clocks_ms = clock_unix_ms() - (int64_t)clock_monotonic_ms();
    feed->beat_every_ms = stale_ms / 3 < BEAT_EVERY_MS ? stale_ms / 3 : BEAT_EVERY_MS;
    feed->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
    return (feed->fd != -1 && denylist_open(&feed->denylist)) ||
           failure_set(failure, "no memory for the revoked tokens, or no file descriptor: %s",
                       strerror(errno));
}

bool feed_start(struct feed *feed, struct failure *failure)
{
    int error = pthread_create(&feed->thread, NULL, run, feed);

    feed->started = error == 0;
    if (!feed->started)
        return failure_set(failure, "cannot start a thread: %s", strerror(error));
    pthread_setname_np(feed->thread, "feed");
    return true;
}

bool feed_stop(struct feed *feed, uint64_t deadline_ms)
{
    struct timespec pause = {0, 5000000};

    if (!feed->started)
        return true;
    atomic_store(&feed->stopping, true);
    wake(feed->fd);
    while (!atomic_load(&feed->ended) && clock_monotonic_ms() < deadline_ms)
        nanosleep(&pause, NULL);
    if (!atomic_load(&feed->ended))
        return false;
    pthread_join(feed->thread, NULL);
    return true;
}

void feed_close(struct feed *feed)
{
    if (feed->pg.name == NULL)
        return;
    denylist_close(&feed->denylist);
    if (feed->fd != -1)
        close(feed->fd);
    pthread_mutex_destroy(&feed->mutex);
}
