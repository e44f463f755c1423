/* A PostgreSQL connection on the loop. Functions are in the order in which a connection passes
 * through them: names, connection, set-up, results, its own beat, queries, the way down.
 *
 * libpq closes its descriptor when the server dies, and may change it between addresses while it
 * connects: so the loop watches a duplicate (watch.h), reopened after every step.
 */
#include "common/pg/pg.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/pg/pg_consume.h"
#include "common/pg/pg_parameters.h"

#define SETUP_MAX     2048 /* bytes of a set-up statement, with the NUL */
#define BEAT_EVERY_MS 5000
/* On an idle connection; behind other queries, the query timeout is added. */
#define BEAT_WITHIN_MS 1000
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 2000

static const char flooded[] = "the server sends more than anybody has asked for";

static void on_connecting(struct watch *watch);
static void on_ready(struct watch *watch);

static struct pg *pg_of(struct reconnect *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct pg, link, link);
}

static void lose(struct pg *pg, const char *reason)
{
    reconnect_lose(&pg->link, reason);
}

/* Starts an attempt: names, connection, set-up. */
static void start(struct reconnect *link)
{
    reconnect_move(link, RECONNECT_RESOLVING);
    pg_hosts_resolve(&pg_of(link)->hosts);
}

/* Logs what PostgreSQL sends unasked, such as why it ends the connection; libpq would print it. */
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
    struct pg_parameters parameters;
    struct pg_address address;

    pg_parameters_begin(&parameters, "jotd");
    pg_parameters_add_url(&parameters, pg->config->url);
    /* Resolved addresses override the URL. When there was nothing to resolve, it is used as it
     * is. */
    if (pg_hosts_choose(&pg->hosts, &address)) {
        pg_parameters_add(&parameters, "host", address.host);
        pg_parameters_add(&parameters, "hostaddr", address.address);
        pg_parameters_add(&parameters, "port", address.port);
    }
    reconnect_begin_connecting(&pg->link);
    pg->conn = PQconnectStartParams(parameters.keywords, parameters.values, 1);
    PQsetNoticeReceiver(pg->conn, on_notice, pg);
    if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
        lose(pg, pg->conn != NULL ? PQerrorMessage(pg->conn) : "out of memory");
        return;
    }
    reconnect_move(&pg->link, RECONNECT_CONNECTING);
    pg->watch.on_ready = on_connecting;
    if (!watch_open(&pg->watch, pg->loop, PQsocket(pg->conn))) {
        lose(pg, "no file descriptor left");
        return;
    }
    watch_for_write(&pg->watch); /* libpq: start as if it had returned PGRES_POLLING_WRITING */
}

static void on_hosts(struct pg_hosts *hosts, const char *reason)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, hosts, hosts);

    if (reason == NULL)
        connect_now(pg);
    else
        lose(pg, reason);
}

#define OWN_STEPS 3 /* on a connection that listens; the first one checks for a pooler */

/* The current step of the caller's set-up; NULL while it is one of our own. */
static const struct pg_setup *given_step(const struct pg *pg)
{
    size_t own = pg->config->on_notify != NULL ? OWN_STEPS : 0;

    return pg->setup_step < own ? NULL : pg->config->setup + (pg->setup_step - own);
}

/* The next set-up statement: our own, then the caller's; false when none is left. */
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
    log_info("pg.connected", log_str("connection", pg->config->name),
             log_str("host", PQhost(pg->conn)), log_str("port", PQport(pg->conn)),
             log_int("down_ms", pg->down_since_ms == 0
                                    ? 0
                                    : (int64_t)(clock_monotonic_ms() - pg->down_since_ms)));
    pg->down_since_ms = 0;
    pg->was_ready = true;
    pg->reach = PG_REACHED;
    if (pg->config->on_notify != NULL)
        timer_start(pg->timers, &pg->beat_timer, BEAT_EVERY_MS);
    reconnect_move(&pg->link, RECONNECT_READY);
}

/* Counts a turn that began at this CPU time; true when the server has sent too much. */
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
        reconnect_move(&pg->link, RECONNECT_SETTING_UP);
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

/* A pooler makes up the backend process id that it reports to its clients. */
static bool is_direct(const struct pg *pg)
{
    return PQnfields(pg->result) != 1 || PQntuples(pg->result) != 1 ||
           atoi(PQgetvalue(pg->result, 0, 0)) == PQbackendPID(pg->conn);
}

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
        lose(pg, "there is a pooler in between, which may swallow notifications: connect to "
                 "PostgreSQL itself");
        return;
    }
    PQclear(pg->result);
    pg->result = NULL;
    ++pg->setup_step;
    setup_next(pg);
}

/* The sync point after the oldest query has arrived: its result is complete. */
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
         * statement is unusable, for instance after a schema change. A new connection prepares it
         * again. */
        if ((state != NULL && strcmp(state, "26000") == 0) ||
            (function != NULL && strcmp(function, "RevalidateCachedQuery") == 0))
            reconnect_break_off(&pg->link, "a prepared statement has become invalid");
        if (PQresultStatus(result) == PGRES_TUPLES_OK)
            query->on_result(query, result, NULL);
        else
            query->on_result(query, NULL, result != NULL ? PQresultErrorMessage(result) : "");
    }
    PQclear(result);
    if (pg->link.broken != NULL)
        return; /* the timer drops the connection */
    if (pg->queries != NULL) {
        uint64_t now_ms = clock_monotonic_ms(), at_ms = pg->queries->deadline_ms;

        timer_start(pg->timers, &pg->link.timer, at_ms > now_ms ? at_ms - now_ms : 1);
    } else {
        timer_stop(pg->timers, &pg->link.timer);
    }
}

/* Takes the results that have arrived, without blocking. */
static void read_results(struct pg *pg)
{
    bool ended = false;

    while (pg->conn != NULL && !PQisBusy(pg->conn)) {
        PGresult *result = PQgetResult(pg->conn);

        if (result == NULL) {
            if (pg->link.state == RECONNECT_SETTING_UP) {
                finish_setup_step(pg);
                return; /* the loop brings the next statement's results */
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

static void hear_beat(struct pg *pg)
{
    pg->beat_is_out = false;
    timer_start(pg->timers, &pg->beat_timer, BEAT_EVERY_MS);
}

/* PostgreSQL may send a notification between a result and its sync point. It reports a change that
 * the result may not have seen, so it waits until the result is handled. */
static void read_notifications(struct pg *pg)
{
    PGnotify *notification;

    while (pg->conn != NULL && pg->result == NULL &&
           (notification = PQnotifies(pg->conn)) != NULL) {
        pg->fruitful = true;
        if (strcmp(notification->relname, pg->beat_channel) == 0)
            hear_beat(pg);
        else if (pg->config->on_notify != NULL)
            pg->config->on_notify(pg->config->owner, notification->relname, notification->extra);
        PQfreemem(notification);
    }
}

static void on_ready(struct watch *watch)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, watch, watch);
    uint64_t began_us = clock_thread_cpu_us();

    if (!pg_consume(pg->conn)) {
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

/* The answer may have arrived: a loop that was held up reads it late. Reading restarts the timer if
 * anything is still awaited. */
static void on_overdue(struct reconnect *link)
{
    struct pg *pg = pg_of(link);

    if (link->state == RECONNECT_SETTING_UP) {
        lose(pg, link->too_slow);
        return;
    }
    on_ready(&pg->watch);
    if (pg->queries != NULL && !timer_is_running(&link->timer))
        lose(pg, "a query was not answered in time");
}

static void on_beat_overdue(struct pg *pg)
{
    on_ready(&pg->watch);
    if (pg->beat_is_out && !timer_is_running(&pg->beat_timer))
        lose(pg, "its own notification did not come back in time");
}

static void on_beat_sent(struct pg_query *query, const PGresult *result, const char *reason)
{
    struct pg *pg = H2O_STRUCT_FROM_MEMBER(struct pg, beat, query);

    (void)reason;
    /* The notification arrives with the result, or right after it. */
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
        return; /* it is already being dropped */
    pg->beat_is_out = true;
    timer_start(pg->timers, &pg->beat_timer,
                idle ? BEAT_WITHIN_MS : pg->config->query_timeout_ms + BEAT_WITHIN_MS);
}

bool pg_send(struct pg *pg, struct pg_query *query, const char *statement, int count,
             const char *const *values)
{
    if (!pg_is_ready(pg))
        return false;
    query->deadline_ms = clock_monotonic_ms() + pg->config->query_timeout_ms;
    if (pg->queries == NULL)
        timer_start(pg->timers, &pg->link.timer, pg->config->query_timeout_ms);
    DL_APPEND(pg->queries, query);
    if (!PQsendQueryPrepared(pg->conn, statement, count, values, NULL, NULL, 0) ||
        !PQpipelineSync(pg->conn)) {
        reconnect_break_off(&pg->link, "a query could not be sent");
    } else if (PQflush(pg->conn) == 1) {
        watch_for_write(&pg->watch);
    }
    return true;
}

/* The way down */

static void stop(struct reconnect *link)
{
    struct pg *pg = pg_of(link);

    if (link->state == RECONNECT_CONNECTING && pg->conn != NULL &&
        PQstatus(pg->conn) == CONNECTION_BAD &&
        (PQconnectionUsedPassword(pg->conn) || PQconnectionNeedsPassword(pg->conn)))
        pg->reach = PG_PASSWORD_REFUSED;
    else
        pg->reach = link->state == RECONNECT_SETTING_UP ? PG_SETUP_REFUSED : PG_NOT_REACHED;
    timer_stop(pg->timers, &pg->beat_timer);
    pg->beat_is_out = false;
    pg_hosts_cancel(&pg->hosts);
    watch_close(&pg->watch);
    PQclear(pg->result);
    PQfinish(pg->conn);
    pg->result = NULL;
    pg->conn = NULL;
    pg->fruitless_reads = 0;
    pg->fruitless_cpu_us = 0;
}

static void on_state(struct reconnect *link, enum reconnect_state before)
{
    struct pg *pg = pg_of(link);

    if (before == RECONNECT_READY || link->state == RECONNECT_READY)
        pg->config->on_change(pg->config->owner, link->state == RECONNECT_READY);
}

/* Fails what was in flight. pg_send refuses queries that a callback sends meanwhile. */
static void fail_queries(struct pg *pg, const char *reason)
{
    while (pg->queries != NULL) {
        struct pg_query *query = pg->queries;

        DL_DELETE(pg->queries, query);
        query->on_result(query, NULL, reason);
    }
}

/* The event says how far the connection had got. */
static void log_lost(const struct pg *pg, enum reconnect_state before)
{
    const char *name = pg->config->name, *reason = pg->link.reason.reason;

    if (before == RECONNECT_READY)
        log_warn("pg.lost", log_str("connection", name), log_str("reason", reason));
    else if (before == RECONNECT_SETTING_UP)
        log_warn("pg.unusable", log_str("connection", name), log_str("reason", reason));
    else
        log_warn("pg.unreachable", log_str("connection", name), log_str("reason", reason));
}

/* Tries each address of a round without a pause; pauses when none worked. */
static bool on_lost(struct reconnect *link, enum reconnect_state before, bool is_news)
{
    struct pg *pg = pg_of(link);

    if (before == RECONNECT_SETTING_UP) /* the owner discards what the set-up loaded */
        pg->config->on_change(pg->config->owner, false);
    if (is_news)
        log_lost(pg, before);
    if (before == RECONNECT_READY)
        pg->down_since_ms = clock_monotonic_ms();
    fail_queries(pg, link->reason.reason);
    return before != RECONNECT_READY && pg_hosts_next(&pg->hosts);
}

/* With a silent name server, glibc may take longer than an attempt before it asks the next one:
 * starting again would never end. */
static void on_slow_name(struct reconnect *link)
{
    static const char reason[] = "looking up the address of PostgreSQL takes long";

    if (strcmp(link->reason.reason, reason) != 0)
        log_warn("pg.unreachable", log_str("connection", pg_of(link)->config->name),
                 log_str("reason", reason));
    failure_set(&link->reason, "%s", reason);
}

void pg_open(struct pg *pg, const struct pg_config *config, h2o_loop_t *loop, struct timers *timers)
{
    *pg = (struct pg){
        .config = config,
        .loop = loop,
        .timers = timers,
        .link = {.connect_timeout_ms = config->connect_timeout_ms,
                 .backoff = {.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS},
                 .start = start,
                 .stop = stop,
                 .on_state = on_state,
                 .on_lost = on_lost,
                 .on_slow_name = on_slow_name,
                 .on_overdue = on_overdue,
                 .too_slow = "connecting took too long"},
    };
    pg->beat_timer.on_time = on_beat_timer;
    snprintf(pg->beat_channel, sizeof(pg->beat_channel), "beat_%08x%08x", arc4random(),
             arc4random());
    pg->hosts.on_done = on_hosts;
    pg_hosts_open(&pg->hosts, config->url, timers);
    reconnect_open(&pg->link, timers);
    reconnect_try(&pg->link);
}

void pg_close(struct pg *pg)
{
    if (pg->config == NULL)
        return;
    reconnect_close(&pg->link);
    fail_queries(pg, "closing");
    pg_hosts_close(&pg->hosts);
}
