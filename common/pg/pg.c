/* A PostgreSQL connection on the loop: see pg.h for the states. Functions stand in the order in
 * which a connection passes through them. set_state is the one place where the state changes, and
 * lose() the one way down.
 *
 * libpq closes its descriptor when the server dies and may change it between addresses while it
 * connects: what the loop watches is a duplicate (watch.h), opened afresh after every step.
 */
#include "common/pg/pg.h"

#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"

#define SETUP_MAX     2048 /* bytes of a statement of the set-up, with the NUL */
#define BEAT_EVERY_MS 5000
/* Of an idle connection; behind other queries, their deadline counts. */
#define BEAT_WITHIN_MS 1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

static const char flooded[] = "the server sends more than anybody has asked for";

static void on_timer(struct timer *timer);
static void on_connecting(struct watch *watch);
static void on_ready(struct watch *watch);

static void set_state(struct pg *pg, enum pg_state state)
{
    bool was_ready = pg->state == PG_READY, is_ready = state == PG_READY;

    pg->state = state;
    if (was_ready != is_ready)
        pg->config->on_change(pg->config->owner, is_ready);
}

/* Fails what was in flight. Queries that a callback sends meanwhile are refused by pg_send. */
static void fail_queries(struct pg *pg, const char *reason)
{
    while (pg->queries != NULL) {
        struct pg_query *query = pg->queries;

        DL_DELETE(pg->queries, query);
        query->on_result(query, NULL, reason);
    }
}

static void disconnect(struct pg *pg)
{
    timer_stop(pg->timers, &pg->timer);
    timer_stop(pg->timers, &pg->beat_timer);
    pg->beat_is_out = false;
    pg_hosts_cancel(&pg->hosts);
    watch_close(&pg->watch);
    PQclear(pg->result);
    PQfinish(pg->conn);
    pg->result = NULL;
    pg->conn = NULL;
    pg->broken = NULL;
    pg->fruitless_reads = 0;
    pg->fruitless_cpu_us = 0;
}

static enum pg_reach reach(const struct pg *pg)
{
    if (pg->state == PG_SETTING_UP)
        return PG_SETUP_REFUSED;
    if (pg->state == PG_CONNECTING && pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_BAD &&
        (PQconnectionUsedPassword(pg->conn) || PQconnectionNeedsPassword(pg->conn)))
        return PG_PASSWORD_REFUSED;
    return PG_NOT_REACHED;
}

/* The connection is given up, for a reason, and tried again after a pause. A failure that goes on
 * for the same reason is logged once. */
static void lose(struct pg *pg, const char *reason)
{
    bool was_ready = pg->state == PG_READY, was_setting_up = pg->state == PG_SETTING_UP;
    const char *event = was_ready                    ? "pg.lost"
                        : pg->state == PG_SETTING_UP ? "pg.unusable"
                                                     : "pg.unreachable";
    bool round_is_over = was_ready || !pg_hosts_next(&pg->hosts);
    struct failure failure;

    failure_set(&failure, "%s", reason); /* a copy: it may live in the connection */
    failure_one_line(&failure);
    pg->reach = reach(pg);
    disconnect(pg);
    set_state(pg, PG_DOWN);
    if (was_setting_up) /* what its statements have brought is not to be relied on */
        pg->config->on_change(pg->config->owner, false);
    if (was_ready || strcmp(failure.reason, pg->last.reason) != 0)
        log_warn(event, log_str("connection", pg->config->name), log_str("reason", failure.reason));
    pg->last = failure;
    if (was_ready)
        pg->down_since_ms = clock_monotonic_ms();
    fail_queries(pg, failure.reason);

    if (!round_is_over) { /* the next address, at once */
        timer_start(pg->timers, &pg->timer, 1);
        return;
    }
    /* Half of the pause is random, so that many do not come back at once. */
    timer_start(pg->timers, &pg->timer,
                pg->backoff_ms / 2 + arc4random_uniform((uint32_t)pg->backoff_ms / 2 + 1) + 1);
    pg->backoff_ms = pg->backoff_ms * 2 < BACKOFF_MAX_MS ? pg->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* Gives the connection up at the next turn of the loop, so that nobody's callback is called from
 * within his own call. */
static void break_off(struct pg *pg, const char *reason)
{
    pg->broken = reason;
    timer_start(pg->timers, &pg->timer, 1);
}

/* A whole attempt: names, connection, set-up. */
static void connect_start(struct pg *pg)
{
    timer_start(pg->timers, &pg->timer, pg->config->connect_timeout_ms);
    set_state(pg, PG_RESOLVING);
    pg_hosts_resolve(&pg->hosts);
}

/* What PostgreSQL says unasked, such as why it ends the connection; libpq would print it. */
static void on_notice(void *data, const PGresult *result)
{
    struct pg *pg = data;
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms - pg->notice_ms < PG_NOTICE_EVERY_MS)
        return;
    pg->notice_ms = now_ms;
    log_info("pg.notice", log_str("connection", pg->config->name), log_str("message", message));
}

static void connect_now(struct pg *pg)
{
    struct pg_address address;
    const char *keywords[] = {"keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "tcp_user_timeout",
                              "fallback_application_name",
                              "dbname",
                              "host",
                              "hostaddr",
                              "port",
                              NULL};
    const char *values[] = {"10", "5",  "3",  "20000", "jotd", pg->config->url,
                            NULL, NULL, NULL, NULL};

    /* Later ones win: the URL over our defaults, resolved addresses over the URL. Where there was
     * nothing to resolve, the URL stands as it is. */
    if (pg_hosts_choose(&pg->hosts, &address)) {
        values[6] = address.host;
        values[7] = address.address;
        values[8] = address.port;
    }
    timer_start(pg->timers, &pg->timer, pg->config->connect_timeout_ms);
    pg->conn = PQconnectStartParams(keywords, values, 1);
    PQsetNoticeReceiver(pg->conn, on_notice, pg);
    if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
        lose(pg, pg->conn != NULL ? PQerrorMessage(pg->conn) : "out of memory");
        return;
    }
    set_state(pg, PG_CONNECTING);
    pg->watch.on_ready = on_connecting;
    if (!watch_open(&pg->watch, pg->loop, PQsocket(pg->conn))) {
        lose(pg, "no file descriptor left");
        return;
    }
    watch_for_write(&pg->watch); /* as libpq asks: begin as if it had said PGRES_POLLING_WRITING */
}

static void on_hosts(struct pg_hosts *hosts, const char *reason)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, hosts, hosts);

    if (reason == NULL)
        connect_now(pg);
    else
        lose(pg, reason);
}

#define OWN_STEPS 3 /* of a connection that listens; the first one looks for a pooler */

/* The step of the caller's set-up, NULL while our own comes first. */
static const struct pg_setup *given_step(const struct pg *pg)
{
    size_t own = pg->config->on_notify != NULL ? OWN_STEPS : 0;

    return pg->setup_step < own ? NULL : pg->config->setup + (pg->setup_step - own);
}

/* The next statement of the set-up: our own, then the caller's; false when there is none left. */
static bool setup_statement(struct pg *pg, char *sql, size_t size)
{
    const struct pg_setup *given = given_step(pg);

    if (given != NULL && given->sql == NULL)
        return false;
    if (given != NULL)
        snprintf(sql, size, "%s", given->sql);
    else if (pg->setup_step == 0)
        snprintf(sql, size, "SELECT pg_backend_pid()");
    else if (pg->setup_step == 1)
        snprintf(sql, size, "LISTEN %s", pg->beat_channel);
    else
        snprintf(sql, size, "PREPARE beat AS SELECT pg_notify('%s', '')", pg->beat_channel);
    return true;
}

static void setup_next(struct pg *pg)
{
    char sql[SETUP_MAX];

    while (pg->was_ready && given_step(pg) != NULL && given_step(pg)->once)
        ++pg->setup_step;
    if (setup_statement(pg, sql, sizeof(sql))) {
        if (!PQsendQuery(pg->conn, sql))
            lose(pg, PQerrorMessage(pg->conn));
        else
            watch_for_write(&pg->watch); /* flushes */
        return;
    }
    if (!PQenterPipelineMode(pg->conn)) {
        lose(pg, PQerrorMessage(pg->conn));
        return;
    }
    timer_stop(pg->timers, &pg->timer);
    log_info("pg.connected", log_str("connection", pg->config->name),
             log_str("host", PQhost(pg->conn)), log_str("port", PQport(pg->conn)),
             log_int("down_ms", pg->down_since_ms == 0
                                    ? 0
                                    : (int64_t)(clock_monotonic_ms() - pg->down_since_ms)));
    pg->backoff_ms = BACKOFF_MIN_MS;
    pg->down_since_ms = 0;
    pg->was_ready = true;
    pg->reach = PG_REACHED;
    pg->last.reason[0] = '\0';
    if (pg->config->on_notify != NULL)
        timer_start(pg->timers, &pg->beat_timer, BEAT_EVERY_MS);
    set_state(pg, PG_READY);
}

/* Counts a turn that began with this use of the CPU; true when the server has gone too far. */
static bool is_flooded(struct pg *pg, uint64_t began_us)
{
    bool fruitful = pg->fruitful;

    pg->fruitful = false;
    pg->fruitless_reads = fruitful ? 0 : pg->fruitless_reads + 1;
    pg->fruitless_cpu_us = fruitful ? 0 : pg->fruitless_cpu_us + clock_thread_cpu_us() - began_us;
    return pg->fruitless_reads > PG_FRUITLESS_READS_MAX ||
           pg->fruitless_cpu_us > PG_FRUITLESS_CPU_MAX_US;
}

static void on_connecting(struct watch *watch)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, watch, watch);
    uint64_t began_us = clock_thread_cpu_us();
    PostgresPollingStatusType status = PQconnectPoll(pg->conn);

    watch_close(&pg->watch);
    if (status == PGRES_POLLING_FAILED) {
        lose(pg, PQerrorMessage(pg->conn));
        return;
    }
    if (is_flooded(pg, began_us)) {
        lose(pg, flooded);
        return;
    }
    if (status == PGRES_POLLING_OK) {
        PQsetnonblocking(pg->conn, 1);
        pg->watch.on_ready = on_ready;
        pg->setup_step = 0;
        set_state(pg, PG_SETTING_UP);
    }
    if (!watch_open(&pg->watch, pg->loop, PQsocket(pg->conn))) {
        lose(pg, "no file descriptor left");
        return;
    }
    if (status == PGRES_POLLING_WRITING)
        watch_for_write(&pg->watch);
    if (status == PGRES_POLLING_OK)
        setup_next(pg);
}

/* A pooler makes up the process id of the backend that it tells its clients. */
static bool is_direct(const struct pg *pg)
{
    return PQnfields(pg->result) != 1 || PQntuples(pg->result) != 1 ||
           atoi(PQgetvalue(pg->result, 0, 0)) == PQbackendPID(pg->conn);
}

/* One statement of the set-up is through. */
static void finish_setup_step(struct pg *pg)
{
    const struct pg_setup *step = given_step(pg);
    ExecStatusType status = PQresultStatus(pg->result);
    struct failure failure;

    if (step != NULL && step->check != NULL) {
        if (!step->check(pg->config->owner, pg->result, &failure)) {
            lose(pg, failure.reason);
            return;
        }
    } else if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        lose(pg, pg->result != NULL ? PQresultErrorMessage(pg->result) : "no result");
        return;
    }
    if (step == NULL && pg->setup_step == 0 && !is_direct(pg)) {
        lose(pg,
             "a pooler is between, which may swallow notifications: connect to PostgreSQL itself");
        return;
    }
    PQclear(pg->result);
    pg->result = NULL;
    ++pg->setup_step;
    setup_next(pg);
}

/* The sync point after the oldest query has come: its result is whole. */
static void finish_query(struct pg *pg)
{
    struct pg_query *query = pg->queries;
    PGresult *result = pg->result;

    pg->result = NULL;
    if (query != NULL) {
        const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

        DL_DELETE(pg->queries, query);
        /* invalid_sql_statement_name, or "cached plan must not change result type": the prepared
         * statement is of no use any more, after a change of the schema for instance. A new
         * connection makes it anew. */
        if ((state != NULL && strcmp(state, "26000") == 0) ||
            (function != NULL && strcmp(function, "RevalidateCachedQuery") == 0))
            break_off(pg, "a prepared statement has become invalid");
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            query->on_result(query, result, NULL);
        else
            query->on_result(query, NULL, result != NULL ? PQresultErrorMessage(result) : "");
    }
    PQclear(result);
    if (pg->broken != NULL)
        return; /* the timer is set to deal with it */
    if (pg->queries != NULL) {
        uint64_t now_ms = clock_monotonic_ms(), at_ms = pg->queries->deadline_ms;

        timer_start(pg->timers, &pg->timer, at_ms > now_ms ? at_ms - now_ms : 1);
    } else {
        timer_stop(pg->timers, &pg->timer);
    }
}

/* Takes what has arrived: results up to where one would have to wait. */
static void read_results(struct pg *pg)
{
    bool ended = false;

    while (pg->conn != NULL && !PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);

        if (result == NULL) {
            if (pg->state == PG_SETTING_UP) {
                finish_setup_step(pg);
                return; /* the next statement's results come by the loop */
            }
            if (ended)
                return; /* NULL ends a query, a second one says that nothing is in flight */
            ended = true;
            continue;
        }
        pg->fruitful = true;
        ended = false;
        if (PQresultStatus(result) == PGRES_PIPELINE_SYNC) {
            PQclear(result);
            finish_query(pg);
        } else {
            PQclear(pg->result);
            pg->result = result;
        }
    }
}

/* The connection has heard itself. */
static void hear_beat(struct pg *pg)
{
    pg->beat_is_out = false;
    timer_start(pg->timers, &pg->beat_timer, BEAT_EVERY_MS);
}

/* One that stands between an answer and its end, where PostgreSQL sends them, tells of what the
 * answer may not have seen: it waits until the answer is dealt with. */
static void read_notifications(struct pg *pg)
{
    PGnotify *notification;

    while (pg->conn != NULL && pg->result == NULL &&
           (notification = PQnotifies(pg->conn)) != NULL) {
        pg->fruitful = true;
        if (strcmp(notification->relname, pg->beat_channel) == 0)
            hear_beat(pg);
        else if (pg->config->on_notify != NULL)
            pg->config->on_notify(pg->config->owner, notification->extra);
        PQfreemem(notification);
    }
}

/* Reads what has arrived. A record of TLS may hold more than libpq takes at once (PostgreSQL's own
 * are small enough, those of a proxy need not be); the rest waits in OpenSSL, where the loop does
 * not see it. */
static bool consume(PGconn *conn)
{
    const SSL *tls = PQsslStruct(conn, "OpenSSL");
    bool read = PQconsumeInput(conn);

    while (read && tls != NULL && SSL_pending(tls) > 0)
        read = PQconsumeInput(conn);
    return read;
}

static void on_ready(struct watch *watch)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, watch, watch);
    uint64_t began_us = clock_thread_cpu_us();

    if (!consume(pg->conn)) {
        lose(pg, PQerrorMessage(pg->conn));
        return;
    }
    switch (PQflush(pg->conn)) {
    case 0:
        break;
    case 1:
        watch_for_write(&pg->watch);
        break;
    default:
        lose(pg, PQerrorMessage(pg->conn));
        return;
    }
    read_results(pg);
    read_notifications(pg);
    if (pg->conn != NULL && PQstatus(pg->conn) == CONNECTION_BAD)
        lose(pg, PQerrorMessage(pg->conn));
    else if (pg->conn != NULL && is_flooded(pg, began_us))
        lose(pg, flooded);
}

/* A name server that is silent may take glibc longer than this before it asks the next one: to
 * begin anew would never come to an end. */
static void on_slow_name(struct pg *pg)
{
    static const char reason[] = "looking up the address of PostgreSQL takes long";

    if (strcmp(pg->last.reason, reason) != 0)
        log_warn("pg.unreachable", log_str("connection", pg->config->name),
                 log_str("reason", reason));
    failure_set(&pg->last, "%s", reason);
}

/* What should be here by now may have arrived: a loop that was held up comes late to read it. What
 * has been read has set the timer anew, if anything is still awaited. */
static void on_query_overdue(struct pg *pg)
{
    on_ready(&pg->watch);
    if (pg->queries != NULL && !timer_is_running(&pg->timer))
        lose(pg, "a query was not answered in time");
}

static void on_beat_overdue(struct pg *pg)
{
    on_ready(&pg->watch);
    if (pg->beat_is_out && !timer_is_running(&pg->beat_timer))
        lose(pg, "its own notification did not come back in time");
}

static void on_timer(struct timer *timer)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, timer, timer);

    if (pg->state == PG_DOWN) {
        connect_start(pg);
    } else if (pg->broken != NULL) {
        lose(pg, pg->broken);
    } else if (pg->state == PG_RESOLVING) {
        on_slow_name(pg);
    } else if (pg->state == PG_READY) {
        on_query_overdue(pg);
    } else {
        lose(pg, "connecting took too long");
    }
}

static void on_beat_sent(struct pg_query *query, const PGresult *result, const char *reason)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, beat, query);

    (void)reason;
    /* The notification comes with the result, or right after it. */
    if (result != NULL && pg->beat_is_out)
        timer_start(pg->timers, &pg->beat_timer, BEAT_WITHIN_MS);
}

static void on_beat_timer(struct timer *timer)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, beat_timer, timer);
    bool idle = pg->queries == NULL;

    if (pg->beat_is_out) {
        on_beat_overdue(pg);
        return;
    }
    pg->beat.on_result = on_beat_sent;
    if (!pg_send(pg, &pg->beat, "beat", 0, NULL))
        return; /* it is being given up already */
    pg->beat_is_out = true;
    timer_start(pg->timers, &pg->beat_timer,
                idle ? BEAT_WITHIN_MS : pg->config->query_timeout_ms + BEAT_WITHIN_MS);
}

bool pg_send(struct pg *pg, struct pg_query *query, const char *statement, int count,
             const char *const *values)
{
    if (pg->state != PG_READY || pg->broken != NULL)
        return false;
    query->deadline_ms = clock_monotonic_ms() + pg->config->query_timeout_ms;
    if (pg->queries == NULL)
        timer_start(pg->timers, &pg->timer, pg->config->query_timeout_ms);
    DL_APPEND(pg->queries, query);
    if (!PQsendQueryPrepared(pg->conn, statement, count, values, NULL, NULL, 0) ||
        !PQpipelineSync(pg->conn)) {
        break_off(pg, "a query could not be sent");
    } else if (PQflush(pg->conn) == 1) {
        watch_for_write(&pg->watch);
    }
    return true;
}

void pg_open(struct pg *pg, const struct pg_config *config, h2o_loop_t *loop, struct timers *timers)
{
    *pg = (struct pg){.config = config, .loop = loop, .timers = timers};
    pg->timer.on_time = on_timer;
    pg->beat_timer.on_time = on_beat_timer;
    snprintf(pg->beat_channel, sizeof(pg->beat_channel), "beat_%08x%08x", arc4random(),
             arc4random());
    pg->backoff_ms = BACKOFF_MIN_MS;
    pg->hosts.on_done = on_hosts;
    pg_hosts_open(&pg->hosts, config->url, timers);
    connect_start(pg);
}

void pg_close(struct pg *pg)
{
    disconnect(pg);
    set_state(pg, PG_DOWN);
    fail_queries(pg, "closing");
    pg_hosts_close(&pg->hosts);
}
