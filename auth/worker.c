/* A pass is one turn of the loop: it handles what has arrived, signs tokens and builds responses,
 * then records the issued tokens and sends the responses.
 */
#include "auth/worker.h"

#include <stdlib.h>
#include <string.h>

#include "auth/migrations.h"
#include "common/clock.h"
#include "common/http/recycled.h"
#include "common/http/reply.h"
#include "common/lag.h"
#include "common/log.h"
#include "common/private_memory.h"

#define MAX_WAIT_MS        100 /* also the delay until a drain or a new key set is seen */
#define CONNECT_TIMEOUT_MS 5000
#define LOOKUP_TIMEOUT_MS  5000
#define ISSUE_MS           500  /* to issue tokens already granted at the drain deadline */
#define ABORT_MS           1000 /* for aborted connections to close */
#define TIERS_SQL          "SELECT name FROM tiers ORDER BY name LIMIT 63"
#define CHANGES_LOGGED     20   /* client changes per second */
#define START_MS           2000 /* to reach PostgreSQL and Redis before accepting connections */

static bool check_schema(void *owner, const PGresult *result, struct failure *failure)
{
    (void)owner;
    return migrations_check_version(result, failure);
}

/* Whatever the result, the connection is usable. */
static bool warm(void *owner, const PGresult *result, struct failure *failure)
{
    struct worker *worker = owner;

    (void)failure;
    client_cache_on_connection(&worker->clients,
                               false); /* expires what an earlier attempt may have loaded */
    if (PQresultStatus(result) == PGRES_TUPLES_OK) {
        client_cache_warm(&worker->clients, result);
        log_info("client.warmed", log_int("clients", PQntuples(result)));
    } else {
        log_warn("client.not_warmed",
                 log_str("reason", PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY)));
    }
    return true;
}

/* Gives tiers their labels before their first token. Accepts any result. */
static bool know_tiers(void *owner, const PGresult *result, struct failure *failure)
{
    (void)owner;
    (void)failure;
    for (int row = 0; row < PQntuples(result); ++row)
        (void)tier_number(PQgetvalue(result, row, 0));
    return true;
}

/* The statements that set up a new connection, in order. */
static void make_setup(struct worker *worker)
{
    size_t size = worker->clients.records.capacity;
    const struct pg_setup setup[] = {
        {.sql = CLIENT_LISTEN_SQL},
        {.sql = CLIENT_LISTEN_ORGANIZATION_SQL},
        {.sql = MIGRATIONS_VERSION_SQL, .check = check_schema},
        {.sql = TIERS_SQL, .check = know_tiers, .once = true},
        {.sql = CLIENT_PREPARE_SQL},
        {.sql = CLIENT_BATCH_PREPARE_SQL},
        /* Warming the cache is optional, so it gets less time. */
        {.sql = "SET statement_timeout = '1s'", .once = true},
        {.sql = worker->warm_sql, .check = warm, .once = true},
        {.sql = "SET statement_timeout = '5s'"},
        {.sql = NULL},
    };

    _Static_assert(COUNT_OF(setup) == WORKER_PG_SETUP, "as the header says");
    memcpy(worker->pg_setup, setup, sizeof(setup));
    snprintf(worker->warm_sql, sizeof(worker->warm_sql), CLIENT_WARM_SQL, size);
}

/* Ready means that the schema is compatible and clients can be looked up. */
static void on_pg_change(void *owner, bool ready)
{
    struct worker *worker = owner;
    struct process *process = worker->process;

    atomic_store(&worker->has_postgres, ready);
    client_cache_on_connection(&worker->clients, ready);
    if (!ready || worker->verified)
        return;
    worker->verified = true;
    if (atomic_fetch_add(&process->workers_verified, 1) + 1 == process->worker_count)
        log_info("schema.verified", log_int("version", migrations[migration_count - 1].version));
}

/* Once a second is over, logs how many of its changes were not logged. */
static void log_more_changes(struct worker *worker)
{
    uint64_t second = clock_monotonic_ms() / 1000;

    if (second == worker->changes_second)
        return;
    if (worker->changes > CHANGES_LOGGED)
        log_info("client.changed", log_int("more", (int64_t)worker->changes - CHANGES_LOGGED));
    worker->changes = 0;
    worker->changes_second = second;
}

/* Every worker is notified of a change; only the first one logs it. */
static void log_change(struct worker *worker, bool of_organization, const char *payload)
{
    if (worker != worker->process->workers)
        return;
    log_more_changes(worker);
    if (++worker->changes > CHANGES_LOGGED)
        return;
    if (of_organization)
        log_info("organization.changed", log_str("organization", payload));
    else if (strcmp(payload, "*") == 0)
        log_info("client.changed", log_str("client", "*"),
                 log_str("reason", "a tier, or many clients at once"));
    else
        log_info("client.changed", log_str("client", payload));
}

static void on_pg_notify(void *owner, const char *channel, const char *payload)
{
    struct worker *worker = owner;
    bool of_organization = strcmp(channel, "jotd_organization") == 0;

    log_change(worker, of_organization, payload);
    if (of_organization) {
        client_cache_on_organization(&worker->clients, payload);
        return;
    }
    client_cache_on_change(&worker->clients, payload);
    throttle_forget(&worker->process->throttle, slice_of(payload));
}

static void on_wipe(struct timer *timer)
{
    struct worker *worker = H2O_STRUCT_FROM_MEMBER(struct worker, wipe, timer);

    timer_start(&worker->http.timers, timer, RECYCLED_WIPE_MS);
    log_more_changes(worker);
    recycled_wipe();
    private_memory_wipe_small();
}

static void count_refused(struct connection_pool *pool, int status)
{
    struct worker *worker = H2O_STRUCT_FROM_MEMBER(struct worker, http.connections.pool, pool);

    counters_count_request(&worker->counters, ENDPOINT_OTHER, status, 0);
}

static void open_clients(struct worker *worker, const struct settings *settings)
{
    worker->pg_config = (struct pg_config){
        .name = "look-up",
        .url = settings->database_url,
        .setup = worker->pg_setup,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .query_timeout_ms = LOOKUP_TIMEOUT_MS,
        .owner = worker,
        .on_change = on_pg_change,
        .on_notify = on_pg_notify,
    };
    client_cache_open(&worker->clients, (size_t)settings->client_cache_size,
                      (uint64_t)settings->client_cache_ttl_s * 1000,
                      (uint64_t)settings->client_cache_stale_s * 1000, &worker->pg,
                      &worker->http.timers, &worker->counters.cache);
    make_setup(worker);
    pg_open(&worker->pg, &worker->pg_config, worker->http.loop, &worker->http.timers);
}

bool worker_open(struct worker *worker, struct process *process, struct failure *failure)
{
    const struct settings *settings = &process->settings;
    struct limiter_config limiter = {.mode = settings->limiter,
                                     .on_error = settings->limiter_on_error,
                                     .redis_url = settings->redis_url,
                                     .timeout_ms = (uint64_t)settings->limiter_timeout_ms};

    worker->process = process;
    if (!http_loop_open(&worker->http, &process->http, count_refused, failure))
        return false;
    auth_log_open(&worker->auth_log, &worker->http.timers);
    worker->wipe.on_time = on_wipe;
    timer_start(&worker->http.timers, &worker->wipe, RECYCLED_WIPE_MS);
    open_clients(worker, settings);
    limiter_open(&worker->limiter, &limiter, &process->limiter, worker->http.loop,
                 &worker->http.timers, &worker->counters.limiter);
    spool_writer_open(&worker->spool, &process->ledger.spool);
    issue_open(&worker->issue, settings->issuer, settings->spool_full, &worker->keys.signer,
               &worker->spool, &worker->counters.issue);
    verification_open(&worker->verification, settings->issuer, &worker->keys,
                      &worker->counters.verification);
    if (!feed_port_open(&worker->feed, &process->feed, worker->http.loop))
        return failure_set(failure, "no file descriptor left");
    return http_loop_listen(&worker->http, failure);
}

/* True when all connections are closed, or the deadline has passed. */
static bool drain(struct worker *worker, uint64_t deadline_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    uint64_t timeout_ms = (uint64_t)worker->process->settings.drain_timeout_s * 1000;
    /* The last second, or half of a shorter time-out, is for closing idle connections. */
    uint64_t closing_ms = timeout_ms / 2 < 1000 ? timeout_ms / 2 : 1000;

    if (worker->http.connections.drain_at_ms == 0) {
        h2o_context_request_shutdown(&worker->http.h2o);
        connections_drain(&worker->http.connections, deadline_ms - closing_ms);
        return false;
    }
    return now_ms >= deadline_ms || http_loop_connections(&worker->http) == 0;
}

/* A process that replaces another gets requests at once. They wait for the connections they need
 * instead of being refused. */
static void accept_when_ready(struct worker *worker)
{
    if (!worker->http.connections.accepts &&
        ((pg_was_tried(&worker->pg) && worker->limiter.settled &&
          atomic_load(&worker->process->feed.settled)) ||
         clock_monotonic_ms() >= worker->accept_at_ms))
        connections_accept(&worker->http.connections);
}

static void note_turn(struct worker *worker)
{
    atomic_store_explicit(&worker->turned_ms, clock_monotonic_ms(), memory_order_relaxed);
}

bool worker_is_stuck(const struct worker *worker, uint64_t bound_ms)
{
    uint64_t turned_ms = atomic_load_explicit(&worker->turned_ms, memory_order_relaxed);

    return clock_monotonic_ms() > turned_ms + bound_ms;
}

uint64_t workers_sum(const struct process *process, size_t offset)
{
    uint64_t total = 0;

    if (process->admin_counters != NULL)
        total =
            counter_read((const struct counter *)((const char *)process->admin_counters + offset));

    for (size_t i = 0; i != process->worker_count; ++i)
        total += counter_read(
            (const struct counter *)((const char *)&process->workers[i].counters + offset));
    return total;
}

/* Runs one turn. True if the next must not wait. */
static bool pass(struct worker *worker, int32_t max_wait_ms)
{
    bool sent, more;

    note_turn(worker);
    worker->http.draining = process_is_draining(worker->process);
    lag_since_us = 0;
    if (max_wait_ms == 0)
        lag_begin();                                /* no wait to exclude */
    h2o_evloop_run(worker->http.loop, max_wait_ms); /* -1 for EINTR: there is always a next turn */
    accept_when_ready(worker);
    keyring_view_refresh(&worker->keys, &worker->process->keys, clock_unix_ms() / 1000);
    more = verification_run(&worker->verification);
    client_cache_end_pass(&worker->clients);
    limiter_end_pass(&worker->limiter);
    more |= issue_run(&worker->issue);
    /* Tokens leave once they are recorded, or not at all. */
    issue_end_pass(&worker->issue, spool_end_pass(&worker->spool));
    sent = reply_send_all(&worker->http);
    if (lag_since_us != 0)
        histogram_observe(&worker->counters.loop_lag, clock_monotonic_us() - lag_since_us);
    return sent || more;
}

static void *run(void *data)
{
    struct worker *worker = data;
    uint64_t deadline_ms = 0, issue_until_ms, abort_ms;
    bool busy = false;

    if (worker->process->worker_count > 1)
        log_set_worker((int)(worker - worker->process->workers));
    recycled_keep();
    while (deadline_ms == 0 || !drain(worker, deadline_ms)) {
        busy = pass(worker, busy ? 0 : MAX_WAIT_MS);
        deadline_ms = atomic_load(&worker->process->drain_deadline_ms);
    }

    pg_close(&worker->pg); /* their waiters are answered … */
    limiter_close(&worker->limiter);
    issue_until_ms = clock_monotonic_ms() + ISSUE_MS;
    while (pass(worker, 0) && (worker->issue.line != NULL || worker->verification.line != NULL) &&
           clock_monotonic_ms() < issue_until_ms)
        ; /* … here */
    verification_refuse_all(&worker->verification);
    issue_refuse_all(&worker->issue);
    pass(worker, 0);
    connections_abort(&worker->http.connections);
    abort_ms = clock_monotonic_ms() + ABORT_MS;
    while (http_loop_connections(&worker->http) != 0 && clock_monotonic_ms() < abort_ms)
        pass(worker, 10);
    spool_writer_close(&worker->spool);
    atomic_fetch_sub(&worker->process->workers_running, 1);
    return NULL;
}

bool worker_start(struct worker *worker, struct failure *failure)
{
    char name[16];
    int error;

    keyring_view_refresh(&worker->keys, &worker->process->keys, clock_unix_ms() / 1000);
    worker->accept_at_ms = clock_monotonic_ms() + START_MS;
    note_turn(worker);
    atomic_fetch_add(&worker->process->workers_running, 1);
    error = pthread_create(&worker->thread, NULL, run, worker);
    worker->started = error == 0;
    if (!worker->started) {
        atomic_fetch_sub(&worker->process->workers_running, 1);
        return failure_set(failure, "cannot start a thread: %s", strerror(error));
    }
    snprintf(name, sizeof(name), "worker %u", (unsigned)(worker - worker->process->workers));
    pthread_setname_np(worker->thread, name); /* for `top -H` */
    return true;
}

void worker_join(struct worker *worker)
{
    if (worker->started)
        pthread_join(worker->thread, NULL);
}

void worker_close(struct worker *worker)
{
    pg_close(&worker->pg);
    limiter_close(&worker->limiter);
    client_cache_close(&worker->clients);
    feed_port_close(&worker->feed);
    verification_close(&worker->verification);
    keyring_view_dispose(&worker->keys);
    issue_close(&worker->issue);
    buffer_dispose(&worker->scratch);
    auth_log_close(&worker->auth_log);
    timer_stop(&worker->http.timers, &worker->wipe);
    http_loop_close(&worker->http);
}
