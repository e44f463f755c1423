/* In the order of a job's life: submitted, run, done or given up. Then the threads. */
#include "auth/admin.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "auth/store/guard.h"
#include "auth/store/store.h"
#include "common/clock.h"
#include "common/http/recycled.h"
#include "common/http/reply.h"
#include "common/lag.h"
#include "common/log.h"
#include "common/private_memory.h"

#define MAX_WAIT_MS    100
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 2000
#define NICE           10  /* workers go first */
#define IDLE_MS        500 /* for requests that are on the wire when it drains */
#define ABORT_MS       200 /* for aborted connections to close */
#define SETUP_SQL                                                                                  \
    "SET statement_timeout = '" ADMIN_STATEMENT "'; SET lock_timeout = '" ADMIN_STATEMENT "';"     \
    " SET idle_in_transaction_session_timeout = '30s'; SET TimeZone = 'UTC';"                      \
    " SET synchronous_commit = on"

/* Jobs */

static void wake(struct admin *admin)
{
    uint64_t one = 1;

    (void)!write(admin->done_fd, &one, sizeof(one)); /* fails only when it is awake already */
}

/* The other thread may be at it: then it frees the job. */
void admin_withdraw(struct admin_job *job)
{
    struct admin *admin = job->admin;
    bool is_ours;

    if (admin == NULL) { /* it was never submitted */
        job->free(job);
        return;
    }
    timer_stop(&admin->loop.timers, &job->patience);
    pthread_mutex_lock(&admin->mutex);
    job->is_given_up = true;
    is_ours = job->state != ADMIN_JOB_RUNNING;
    if (job->state == ADMIN_JOB_WAITING)
        DL_DELETE(admin->waiting, job);
    pthread_mutex_unlock(&admin->mutex);
    if (is_ours)
        job->free(job);
}

static void on_late(struct timer *timer)
{
    struct admin_job *job = H2O_STRUCT_FROM_MEMBER(struct admin_job, patience, timer);
    struct admin *admin = job->admin;
    bool began;

    pthread_mutex_lock(&admin->mutex);
    began = job->state == ADMIN_JOB_RUNNING;
    pthread_mutex_unlock(&admin->mutex);
    job->on_late(job, began);
    admin_withdraw(job);
}

void admin_submit(struct admin *admin, struct admin_job *job)
{
    job->admin = admin;
    job->state = ADMIN_JOB_WAITING;
    job->is_given_up = false;
    job->patience = (struct timer){.on_time = on_late};
    timer_start(&admin->loop.timers, &job->patience, ADMIN_WAIT_MS);
    pthread_mutex_lock(&admin->mutex);
    DL_APPEND(admin->waiting, job);
    pthread_cond_signal(&admin->changed);
    pthread_mutex_unlock(&admin->mutex);
}

/* Ends those that are done. One that was given up meanwhile is only freed. */
static void on_done(struct watch *watch)
{
    struct admin *admin = H2O_STRUCT_FROM_MEMBER(struct admin, watch, watch);
    struct admin_job *done, *job;
    uint64_t count;

    (void)!read(admin->done_fd, &count, sizeof(count));
    pthread_mutex_lock(&admin->mutex);
    done = admin->done;
    admin->done = NULL;
    pthread_mutex_unlock(&admin->mutex);
    while ((job = done) != NULL) {
        DL_DELETE(done, job);
        if (job->is_given_up) {
            job->free(job);
            continue;
        }
        timer_stop(&admin->loop.timers, &job->patience);
        job->state = ADMIN_JOB_IDLE;
        job->on_done(job);
    }
}

/* Callers */

void admin_note_caller(struct admin *admin, const struct uuid *jti)
{
    struct admin_caller *caller = NULL;

    for (size_t i = 0; caller == NULL && i != ADMIN_CALLERS; ++i) {
        if (admin->callers[i].seen_ms != 0 &&
            memcmp(&admin->callers[i].jti, jti, sizeof(*jti)) == 0)
            caller = admin->callers + i;
    }
    if (caller == NULL)
        caller = admin->callers + admin->next_caller++ % ADMIN_CALLERS;
    *caller = (struct admin_caller){*jti, clock_monotonic_ms()};
}

bool admin_knows_caller(const struct admin *admin, const struct uuid *jti)
{
    for (size_t i = 0; i != ADMIN_CALLERS; ++i) {
        const struct admin_caller *caller = admin->callers + i;

        if (caller->seen_ms != 0 && memcmp(&caller->jti, jti, sizeof(*jti)) == 0)
            return !atomic_load(&admin->has_postgres) ||
                   clock_monotonic_ms() - caller->seen_ms <= ADMIN_CALLER_MS;
    }
    return false;
}

/* The thread of the store */

static void set_cancel(struct admin *admin, PGcancel *cancel)
{
    PGcancel *old;

    pthread_mutex_lock(&admin->mutex);
    old = admin->cancel;
    admin->cancel = cancel;
    pthread_mutex_unlock(&admin->mutex);
    PQfreeCancel(old);
}

static void lose(struct admin *admin, const char *reason)
{
    if (strcmp(reason, admin->last.reason) != 0)
        log_warn("admin.away", log_str("reason", reason));
    failure_set(&admin->last, "%s", reason);
    atomic_store(&admin->has_postgres, false);
    set_cancel(admin, NULL);
    PQfinish(admin->connection);
    admin->connection = NULL;
    admin->retry_at_ms = clock_monotonic_ms() + backoff_pause_ms(&admin->backoff);
}

static void connect_again(struct admin *admin)
{
    struct store_failure failure;

    admin->connection = store_connect(admin->process->settings.admin_database_url, "jotd-admin",
                                      true, &failure.why);
    if (admin->connection == NULL) {
        lose(admin, failure.why.reason);
        return;
    }
    if (!store_execute(admin->connection, SETUP_SQL, &failure)) {
        lose(admin, failure.why.reason);
        return;
    }
    set_cancel(admin, PQgetCancel(admin->connection));
    admin->last.reason[0] = '\0';
    backoff_reset(&admin->backoff);
    atomic_store(&admin->has_postgres, true);
    log_info("admin.connected", log_str("host", PQhost(admin->connection)),
             log_str("user", PQuser(admin->connection)));
}

/* Whether the connection is alive, as far as can be told without asking. */
static bool is_alive(struct admin *admin)
{
    struct pollfd poll_fd = {.fd = PQsocket(admin->connection), .events = POLLIN};

    while (poll(&poll_fd, 1, 0) == 1) {
        if (!PQconsumeInput(admin->connection))
            return false;
    }
    return PQstatus(admin->connection) == CONNECTION_OK;
}

static void look_at_connection(struct admin *admin)
{
    if (admin->connection != NULL && !is_alive(admin))
        lose(admin, "PostgreSQL has closed the connection");
    if (admin->connection == NULL && clock_monotonic_ms() >= admin->retry_at_ms)
        connect_again(admin);
}

/* What a job left in the session would be another caller's. */
static void clean_up(struct admin *admin)
{
    if (admin->connection == NULL)
        return;
    store_roll_back(admin->connection);
    if (PQstatus(admin->connection) != CONNECTION_OK ||
        PQtransactionStatus(admin->connection) != PQTRANS_IDLE)
        lose(admin, "PostgreSQL is lost");
}

/* Waits for a job, for at most `wait_ms`; NULL if there is none. */
static struct admin_job *take(struct admin *admin, uint64_t wait_ms)
{
    struct admin_job *job;
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(wait_ms / 1000);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        ++until.tv_sec;
    }
    pthread_mutex_lock(&admin->mutex);
    while (admin->waiting == NULL && !atomic_load(&admin->stopping) &&
           pthread_cond_timedwait(&admin->changed, &admin->mutex, &until) == 0)
        ;
    if ((job = admin->waiting) != NULL) {
        DL_DELETE(admin->waiting, job);
        job->state = ADMIN_JOB_RUNNING;
    }
    pthread_mutex_unlock(&admin->mutex);
    return job;
}

static void finish(struct admin *admin, struct admin_job *job)
{
    pthread_mutex_lock(&admin->mutex);
    DL_APPEND(admin->done, job);
    pthread_mutex_unlock(&admin->mutex);
    wake(admin);
}

static void *run_store(void *data)
{
    struct admin *admin = data;

    (void)setpriority(PRIO_PROCESS, 0, NICE); /* of this thread alone */
    while (!atomic_load(&admin->stopping)) {
        struct admin_job *job = take(admin, admin->connection == NULL ? BACKOFF_MIN_MS : 1000);

        look_at_connection(admin);
        if (job != NULL) {
            job->run(job, admin->connection);
            clean_up(admin);
            finish(admin, job);
        }
        private_memory_wipe_small();
    }
    set_cancel(admin, NULL);
    PQfinish(admin->connection);
    admin->connection = NULL;
    atomic_store(&admin->store_running, false);
    return NULL;
}

/* The loop's thread */

static void on_wipe(struct timer *timer)
{
    struct admin *admin = H2O_STRUCT_FROM_MEMBER(struct admin, wipe, timer);

    timer_start(&admin->loop.timers, timer, RECYCLED_WIPE_MS);
    recycled_wipe();
    private_memory_wipe_small();
}

static void count_refused(struct connection_pool *pool, int status)
{
    struct admin *admin = H2O_STRUCT_FROM_MEMBER(struct admin, loop.connections.pool, pool);

    counters_count_request(&admin->counters, ENDPOINT_ADMIN, status, 0);
}

/* Runs one turn. True if the next must not wait. */
static bool pass(struct admin *admin, int32_t max_wait_ms)
{
    bool more;

    admin->loop.draining = atomic_load(&admin->drain_deadline_ms) != 0;
    lag_since_us = 0;
    if (max_wait_ms == 0)
        lag_begin();
    h2o_evloop_run(admin->loop.loop, max_wait_ms);
    keyring_view_refresh(&admin->keys, &admin->process->keys, clock_unix_ms() / 1000);
    more = verification_run(&admin->verification);
    return reply_send_all(&admin->loop) || more;
}

/* True when all connections are closed, or the deadline has passed. */
static bool drain(struct admin *admin, uint64_t deadline_ms)
{
    struct connections *connections = &admin->loop.connections;
    uint64_t now_ms = clock_monotonic_ms();

    if (connections->drain_at_ms == 0) {
        h2o_context_request_shutdown(&admin->loop.h2o);
        connections_drain(connections, now_ms + IDLE_MS);
        return false;
    }
    return now_ms >= deadline_ms || http_loop_connections(&admin->loop) == 0;
}

static void *run(void *data)
{
    struct admin *admin = data;
    uint64_t deadline_ms = 0, abort_ms;
    bool busy = false;

    (void)setpriority(PRIO_PROCESS, 0, NICE);
    connections_accept(&admin->loop.connections);
    while (deadline_ms == 0 || !drain(admin, deadline_ms)) {
        busy = pass(admin, busy ? 0 : MAX_WAIT_MS);
        deadline_ms = atomic_load(&admin->drain_deadline_ms);
    }
    verification_refuse_all(&admin->verification);
    pass(admin, 0);
    connections_abort(&admin->loop.connections);
    abort_ms = clock_monotonic_ms() + ABORT_MS;
    while (http_loop_connections(&admin->loop) != 0 && clock_monotonic_ms() < abort_ms)
        pass(admin, 10);
    atomic_store(&admin->running, false);
    return NULL;
}

/* Life */

static void set_up_http(struct admin *admin, const struct settings *settings)
{
    struct http *http = &admin->http;

    http->addresses[0] =
        (struct http_address){.text = settings->admin_listen,
                              .setting = "JOTD_ADMIN_LISTEN",
                              .fd_name = "admin",
                              .inherited = admin->process->http.addresses[LISTENER_ADMIN].inherited,
                              .takes_over = true,
                              .mode = 0660};
    http->listener_count = 1;
    http->connections.max = ADMIN_CONNECTIONS_MAX;
    http->body_max = ADMIN_BODY_MAX;
    http->idle_ms = (uint64_t)settings->idle_timeout_s * 1000;
    http->trusted_proxies = &settings->trusted_proxies;
    http->access_log = settings->access_log;
    http->names_requests = true;
    http->is_secret = admin->process->http.is_secret;
    memory_budget_open(&http->connections.memory, ADMIN_MEMORY_MAX);
}

bool admin_open(struct admin *admin, struct process *process, struct failure *failure)
{
    const struct settings *settings = &process->settings;
    struct slice issuer = slice_trim_end(slice_of(settings->issuer), '/');
    pthread_condattr_t monotonic;

    if (settings->admin_listen == NULL)
        return true;
    admin->process = process;
    process->admin_counters = &admin->counters;
    snprintf(admin->audience, sizeof(admin->audience), "%.*s" GUARD_AUDIENCE_PATH,
             (int)issuer.length, issuer.bytes);
    pthread_mutex_init(&admin->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&admin->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    admin->backoff = (struct backoff){.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS};
    set_up_http(admin, settings);
    if (!http_loop_open(&admin->loop, &admin->http, count_refused, failure))
        return false;
    admin->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    admin->watch.on_ready = on_done;
    if (admin->done_fd == -1 || !watch_open(&admin->watch, admin->loop.loop, admin->done_fd))
        return failure_set(failure, "no file descriptor left");
    admin->wipe.on_time = on_wipe;
    timer_start(&admin->loop.timers, &admin->wipe, RECYCLED_WIPE_MS);
    verification_open(&admin->verification, settings->issuer, &admin->keys,
                      &admin->counters.verification);
    return http_loop_listen(&admin->loop, failure);
}

bool admin_start(struct admin *admin, struct failure *failure)
{
    int error;

    if (!admin_is_on(admin))
        return true;
    keyring_view_refresh(&admin->keys, &admin->process->keys, clock_unix_ms() / 1000);
    atomic_store(&admin->running, true);
    atomic_store(&admin->store_running, true);
    error = pthread_create(&admin->store_thread, NULL, run_store, admin);
    admin->store_started = error == 0;
    if (error == 0)
        error = pthread_create(&admin->thread, NULL, run, admin);
    admin->started = error == 0;
    if (error != 0)
        return failure_set(failure, "cannot start a thread: %s", strerror(error));
    pthread_setname_np(admin->thread, "admin");
    pthread_setname_np(admin->store_thread, "admin store");
    log_info("admin.started", log_str("listen", admin->process->settings.admin_listen),
             log_str("audience", admin->audience));
    return true;
}

void admin_drain(struct admin *admin, uint64_t deadline_ms)
{
    if (admin_is_on(admin))
        atomic_store(&admin->drain_deadline_ms, deadline_ms);
}

static void wait_for_end(atomic_bool *running, uint64_t deadline_ms)
{
    struct timespec pause = {0, 5000000};

    while (atomic_load(running) && clock_monotonic_ms() < deadline_ms)
        nanosleep(&pause, NULL);
}

/* The statement that runs would hold the process up for no one. */
static void cancel_statement(struct admin *admin)
{
    char error[256];

    pthread_mutex_lock(&admin->mutex);
    if (admin->cancel != NULL)
        (void)!PQcancel(admin->cancel, error, sizeof(error));
    pthread_mutex_unlock(&admin->mutex);
}

bool admin_stop(struct admin *admin, uint64_t deadline_ms)
{
    if (!admin_is_on(admin))
        return true;
    admin_drain(admin, deadline_ms);
    if (admin->started) {
        wait_for_end(&admin->running, deadline_ms + 2 * ABORT_MS);
        if (atomic_load(&admin->running))
            return false;
        pthread_join(admin->thread, NULL);
    }
    if (!admin->store_started)
        return true;
    atomic_store(&admin->stopping, true);
    pthread_mutex_lock(&admin->mutex);
    pthread_cond_signal(&admin->changed);
    pthread_mutex_unlock(&admin->mutex);
    cancel_statement(admin);
    wait_for_end(&admin->store_running, deadline_ms + 2 * ABORT_MS);
    if (atomic_load(&admin->store_running))
        return false;
    pthread_join(admin->store_thread, NULL);
    return true;
}

static void free_jobs(struct admin *admin, struct admin_job **jobs)
{
    struct admin_job *job;

    while ((job = *jobs) != NULL) {
        DL_DELETE(*jobs, job);
        timer_stop(&admin->loop.timers, &job->patience);
        job->free(job);
    }
}

void admin_close(struct admin *admin)
{
    if (!admin_is_on(admin))
        return;
    free_jobs(admin, &admin->waiting);
    free_jobs(admin, &admin->done);
    watch_close(&admin->watch);
    if (admin->done_fd > 0)
        close(admin->done_fd);
    verification_close(&admin->verification);
    keyring_view_dispose(&admin->keys);
    timer_stop(&admin->loop.timers, &admin->wipe);
    http_loop_close(&admin->loop);
    memory_budget_close(&admin->http.connections.memory);
    h2o_config_dispose(&admin->http.h2o);
    pthread_cond_destroy(&admin->changed);
    pthread_mutex_destroy(&admin->mutex);
}
