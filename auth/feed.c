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

/* Results */

/* Hands the revocations back to the workers that asked. */
static void finish(struct feed *feed, struct feed_revocation **revocations, bool recorded)
{
    struct feed_revocation *revocation;

    pthread_mutex_lock(&feed->mutex);
    while ((revocation = *revocations) != NULL) {
        DL_DELETE(*revocations, revocation);
        revocation->recorded = recorded;
        DL_APPEND(revocation->port->done, revocation);
        wake(revocation->port->fd);
    }
    pthread_mutex_unlock(&feed->mutex);
}

static void on_results(struct watch *watch)
{
    struct feed_port *port = H2O_STRUCT_FROM_MEMBER(struct feed_port, watch, watch);
    struct feed_revocation *done, *revocation;

    take_wake(port->fd);
    pthread_mutex_lock(&port->feed->mutex);
    done = port->done;
    port->done = NULL;
    pthread_mutex_unlock(&port->feed->mutex);
    while ((revocation = done) != NULL) {
        DL_DELETE(done, revocation);
        revocation->on_done(revocation);
    }
}

bool feed_port_open(struct feed_port *port, struct feed *feed, h2o_loop_t *loop)
{
    *port = (struct feed_port){.feed = feed, .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    port->watch.on_ready = on_results;
    return port->fd != -1 && watch_open(&port->watch, loop, port->fd);
}

void feed_port_close(struct feed_port *port)
{
    struct feed_revocation *revocation;

    if (port->feed == NULL)
        return;
    watch_close(&port->watch);
    if (port->fd != -1)
        close(port->fd);
    while ((revocation = port->done) != NULL) {
        DL_DELETE(port->done, revocation);
        free(revocation);
    }
    port->feed = NULL;
}

bool feed_port_revoke(struct feed_port *port, struct feed_revocation *revocation)
{
    struct feed *feed = port->feed;
    bool taken;

    revocation->port = port;
    pthread_mutex_lock(&feed->mutex);
    taken = feed->connected && feed->queued != FEED_QUEUE_MAX;
    if (taken) {
        DL_APPEND(feed->queue, revocation);
        ++feed->queued;
    }
    pthread_mutex_unlock(&feed->mutex);
    if (taken)
        wake(feed->fd);
    return taken;
}

/* Up to REVOKE_AT_ONCE revocations off the queue. */
static struct feed_revocation *take_some(struct feed *feed)
{
    struct feed_revocation *taken = NULL, *revocation;

    pthread_mutex_lock(&feed->mutex);
    for (size_t i = 0; i != REVOKE_AT_ONCE && (revocation = feed->queue) != NULL; ++i) {
        DL_DELETE(feed->queue, revocation);
        --feed->queued;
        DL_APPEND(taken, revocation);
    }
    pthread_mutex_unlock(&feed->mutex);
    return taken;
}

static void set_connected(struct feed *feed, bool connected)
{
    pthread_mutex_lock(&feed->mutex);
    feed->connected = connected;
    pthread_mutex_unlock(&feed->mutex);
}

static void add(struct feed *feed, const struct uuid *jti, int64_t expires_at)
{
    if (!denylist_add(&feed->denylist, jti, expires_at, clock_unix_ms() / 1000))
        feed->overflowed = true;
}

/* Notifications */

static void hear_revocation(struct feed *feed, const char *payload)
{
    struct uuid jti;

    /* jti, space, expiry. Anything else, such as *, asks for a look at the table. */
    if (strlen(payload) > UUID_TEXT_LENGTH && payload[UUID_TEXT_LENGTH] == ' ' &&
        uuid_parse((struct slice){payload, UUID_TEXT_LENGTH}, &jti))
        add(feed, &jti, strtoll(payload + UUID_TEXT_LENGTH, NULL, 10));
    else
        feed->is_behind = true;
}

/* What was committed before our own notification was sent has been heard before it. */
static void hear_beat(struct feed *feed)
{
    if (feed->beat_sent_ms != 0 && !feed->is_behind)
        atomic_store(&feed->denylist.complete_ms, feed->beat_sent_ms);
    feed->beat_sent_ms = 0;
    feed->beat_at_ms = clock_monotonic_ms() + feed->beat_every_ms;
}

static void hear(struct feed *feed)
{
    PGnotify *notification;

    while (feed->pg.connection != NULL &&
           (notification = PQnotifies(feed->pg.connection)) != NULL) {
        if (strcmp(notification->relname, feed->beat_channel) == 0)
            hear_beat(feed);
        else
            hear_revocation(feed, notification->extra);
        PQfreemem(notification);
    }
}

static bool send_beat(struct feed *feed, struct failure *failure)
{
    const char *const values[] = {feed->beat_channel};

    feed->beat_sent_ms = clock_monotonic_ms();
    return pg_blocking_query(&feed->pg, "SELECT pg_notify($1, '')", 1, values, NULL, failure);
}

/* The table */

/* A row of the COPY: jti, tab, expiry, line end. */
static void read_row(struct feed *feed, const char *row, size_t length)
{
    struct uuid jti;

    if (length > UUID_TEXT_LENGTH + 1 && uuid_parse((struct slice){row, UUID_TEXT_LENGTH}, &jti))
        add(feed, &jti, strtoll(row + UUID_TEXT_LENGTH, NULL, 10));
}

static bool read_rows(struct feed *feed, uint64_t *rows, struct failure *failure)
{
    char *row, sql[320];
    size_t length;
    PGresult *result, *rest;
    bool done;

    snprintf(sql, sizeof(sql),
             "COPY (SELECT jti, ceil(extract(epoch FROM expires_at))::bigint FROM revoked_tokens"
             " WHERE xid >= '%s'::xid8 AND " REVOKED_TOKENS_LIVE_SQL ") TO STDOUT",
             feed->cursor);
    if (!pg_blocking_query(&feed->pg, sql, 0, NULL, NULL, failure))
        return false;
    while ((row = pg_blocking_next_row(&feed->pg, &length)) != NULL) {
        read_row(feed, row, length);
        PQfreemem(row);
        ++*rows;
    }
    result = pg_blocking_next_result(&feed->pg);
    done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done)
        failure_set(failure, "%s",
                    result != NULL ? PQresultErrorMessage(result)
                                   : "PostgreSQL is lost or does not answer");
    PQclear(result);
    while ((rest = pg_blocking_next_result(&feed->pg)) != NULL)
        PQclear(rest);
    return done;
}

/* Adds what was revoked by transactions from the cursor on. The new cursor is the oldest
 * transaction that may still commit: what it adds is read next time. */
static bool read_table(struct feed *feed, uint64_t *rows, struct failure *failure)
{
    uint64_t began_ms = clock_monotonic_ms();
    PGresult *snapshot = NULL;
    char cursor[sizeof(feed->cursor)];

    feed->is_behind = false;
    *rows = 0;
    if (!pg_blocking_query(&feed->pg, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", 0, NULL,
                           NULL, failure) ||
        !pg_blocking_query(&feed->pg, "SELECT pg_snapshot_xmin(pg_current_snapshot())", 0, NULL,
                           &snapshot, failure))
        return false;
    snprintf(cursor, sizeof(cursor), "%s",
             PQntuples(snapshot) == 1 ? PQgetvalue(snapshot, 0, 0) : "0");
    PQclear(snapshot);
    if (!read_rows(feed, rows, failure) ||
        !pg_blocking_query(&feed->pg, "COMMIT", 0, NULL, NULL, failure))
        return false;
    snprintf(feed->cursor, sizeof(feed->cursor), "%s", cursor);
    atomic_store(&feed->denylist.complete_ms, began_ms);
    return true;
}

/* Everything again: after a new connection, or when there is room again. */
static bool read_all(struct feed *feed, struct failure *failure)
{
    uint64_t began_ms = clock_monotonic_ms(), rows;

    snprintf(feed->cursor, sizeof(feed->cursor), "0");
    feed->overflowed = false;
    if (!read_table(feed, &rows, failure))
        return false;
    if (!feed->overflowed)
        atomic_store(&feed->denylist.full, false);
    log_info("revocations.loaded", log_int("tokens", (int64_t)rows),
             log_int("ms", (int64_t)(clock_monotonic_ms() - began_ms)));
    return true;
}

/* Revocations */

/* The values as three arrays of PostgreSQL, which need no quoting here. */
static bool insert(struct feed *feed, const struct feed_revocation *revocations,
                   struct failure *failure)
{
    struct buffer jtis = {0}, clients = {0}, expiries = {0};
    const struct feed_revocation *revocation;
    const char *separator = "{", *values[3];
    bool inserted;

    DL_FOREACH (revocations, revocation) {
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

/* Writes what is in the queue. Here they count from the commit on, before anybody is told. */
static bool write_revocations(struct feed *feed, struct failure *failure)
{
    struct feed_revocation *revocations, *revocation;

    while ((revocations = take_some(feed)) != NULL) {
        bool recorded = insert(feed, revocations, failure);

        DL_FOREACH (revocations, revocation) {
            if (recorded)
                add(feed, &revocation->jti, revocation->expires_at);
        }
        finish(feed, &revocations, recorded);
        if (!recorded)
            return false;
        hear(feed);
    }
    return true;
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
    feed->is_behind = true; /* nothing is complete yet */
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();

        hear(feed);
        if (feed->beat_sent_ms == 0)
            return true;
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
           pg_blocking_query(&feed->pg, "SET statement_timeout = '60s'", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, "SET synchronous_commit = on", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, "LISTEN jotd_revoked", 0, NULL, NULL, failure) &&
           pg_blocking_query(&feed->pg, listen, 0, NULL, NULL, failure) &&
           hear_own(feed, failure) && read_all(feed, failure);
}

/* Does what is due on a connection; false when it is lost. */
static bool turn(struct feed *feed, struct failure *failure)
{
    uint64_t now_ms = clock_monotonic_ms(), rows, at_ms;

    hear(feed);
    if (feed->is_behind && !read_table(feed, &rows, failure))
        return false;
    if (!write_revocations(feed, failure))
        return false;
    if (now_ms >= feed->sweep_at_ms) {
        feed->sweep_at_ms = now_ms + SWEEP_EVERY_MS;
        denylist_sweep(&feed->denylist, clock_unix_ms() / 1000);
        if (atomic_load(&feed->denylist.full) && !read_all(feed, failure))
            return false;
    }
    if (feed->beat_sent_ms != 0 && now_ms - feed->beat_sent_ms > ANSWER_TIMEOUT_MS)
        return failure_set(failure, "its own notification did not come back in time");
    if (feed->beat_sent_ms == 0 && now_ms >= feed->beat_at_ms && !send_beat(feed, failure))
        return false;
    hear(feed);
    if (feed->is_behind)
        return true;
    at_ms = feed->beat_sent_ms != 0 ? feed->beat_sent_ms + ANSWER_TIMEOUT_MS + 1 : feed->beat_at_ms;
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
    struct feed_revocation *revocations;

    set_connected(feed, false);
    pg_blocking_close(&feed->pg);
    while ((revocations = take_some(feed)) != NULL)
        finish(feed, &revocations, false);
    feed->beat_sent_ms = 0;
    atomic_store(&feed->settled, true);
    if (strcmp(failure->reason, feed->last.reason) != 0)
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
    }
    if (!atomic_load(&feed->stopping))
        lose(feed, &failure);
}

static void *run(void *data)
{
    struct feed *feed = data;

    while (!atomic_load(&feed->stopping)) {
        live(feed);
        note_stale(feed);
        if (!atomic_load(&feed->stopping))
            pause_for(feed, backoff_pause_ms(&feed->backoff));
    }
    pg_blocking_close(&feed->pg);
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
    struct feed_revocation *revocation;

    if (feed->pg.name == NULL)
        return;
    while ((revocation = feed->queue) != NULL) {
        DL_DELETE(feed->queue, revocation);
        free(revocation);
    }
    denylist_close(&feed->denylist);
    if (feed->fd != -1)
        close(feed->fd);
    pthread_mutex_destroy(&feed->mutex);
}
