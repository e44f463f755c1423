/* `jotd serve`: set up in order, wait for signals, tear down in reverse order. */
#include "auth/serve.h"

#include "auth/token/key_directory.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "auth/admin.h"
#include "auth/admin_routes.h"
#include "auth/command/cli.h"
#include "auth/log_level.h"
#include "auth/outage.h"
#include "auth/pending.h"
#include "auth/routes.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/handover.h"
#include "common/log.h"
#include "common/private_memory.h"
#include "common/prometheus.h"

#define LOOK_EVERY_MS    1000 /* between calls of look_around; also the minimum between reloads */
#define GIVE_BACK_BYTES  (16 * 1024 * 1024) /* trim once this much less is held than at the peak */
#define CONNECTION_BYTES 8192               /* rough cost of one, excluding unfinished requests */
#define STUCK_MS         3000               /* grace after the drain deadline for workers to end */
#define LOG_STOP_MS      500                /* for the log's reader to take the last lines */

/* Allows a descriptor for each connection and some for the rest; if the system does not, lowers
 * max_connections. */
static void raise_descriptor_limit(struct settings *settings)
{
    rlim_t rest = 64 + 16 * (rlim_t)settings->workers;
    rlim_t wanted = (rlim_t)settings->max_connections + rest;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted) {
        settings->max_connections = limit.rlim_cur > 2 * rest ? (long long)(limit.rlim_cur - rest)
                                                              : (long long)limit.rlim_cur / 2;
        log_warn("connections.limited", log_int("connections", settings->max_connections),
                 log_int("files", (int64_t)limit.rlim_cur),
                 log_str("reason", "the limit of open files allows no more connections"));
    }
}

/* State that look_around keeps between calls. */
struct lookout {
    size_t most_held; /* bytes; peak held by connections since the last trim */
    struct outages outages;
};

/* Blocks the signals in every thread: threads started later inherit the mask. */
static int open_signals(void)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* at the file size limit write() fails instead, as on a full disk */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* Returns the signal received, or 0 on timeout. The kernel delivers a pending SIGHUP first, so all
 * pending signals are read, and one that ends the process takes precedence. */
static int wait_for_signal(int signals, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = signals, .events = POLLIN};
    struct signalfd_siginfo pending[4];
    ssize_t got = 0;
    int found = 0;

    if (poll(&poll_fd, 1, timeout_ms) == 1)
        got = read(signals, pending, sizeof(pending)) / (ssize_t)sizeof(pending[0]);
    for (ssize_t i = 0; i < got; ++i) {
        if (found == 0 || found == SIGHUP)
            found = (int)pending[i].ssi_signo;
    }
    return found;
}

/* The service manager, see sd_notify(3), restarts a process that has not sent this for a while
 * (WatchdogSec=). Every worker's loop must be turning. The sender is not checked: it waits for
 * PostgreSQL and the disk, and a restart mends neither. */
static void tell_alive(const struct process *process)
{
    uint64_t period_us;

    if (sd_watchdog_enabled(0, &period_us) <= 0)
        return;
    for (size_t i = 0; i != process->worker_count; ++i) {
        if (worker_is_stuck(process->workers + i, period_us / 2000)) {
            log_error("worker.stuck", log_int("worker", (int64_t)i),
                      log_str("reason", "its loop does not turn; the service manager is not told "
                                        "that this process lives"));
            return;
        }
    }
    sd_notify(0, "WATCHDOG=1");
}

static void reload(struct process *process)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_us());
    keyring_refresh(&process->keys, true);
    log_level_apply(&process->settings);
    sd_notify(0, "READY=1");
}

/* Memory freed by many connections is fragmented, and malloc returns it only when told to. That
 * holds each worker up for some milliseconds, so it waits until a flood is over. */
static void give_memory_back(struct process *process, size_t *most_held)
{
    size_t connections = (size_t)atomic_load(&process->http.connections.count) * CONNECTION_BYTES;
    size_t peak = memory_budget_peak(&process->http.connections.memory) + connections;
    size_t held = memory_budget_held(&process->http.connections.memory) + connections;

    if (peak > *most_held)
        *most_held = peak;
    if (held > *most_held / 2 || *most_held - held < GIVE_BACK_BYTES)
        return;
    malloc_trim(0);
    *most_held = held;
}

static void look_around(struct process *process, struct lookout *lookout, bool reloads)
{
    tell_alive(process);
    handover_watch(&process->http);
    prometheus_process_update();
    give_memory_back(process, &lookout->most_held);
    if (reloads)
        reload(process);
    else
        keyring_refresh(&process->keys, false);
    private_memory_wipe_small(); /* freed copies of keys */
    outages_look(&lookout->outages, process);
}

/* A SIGHUP reloads at once, or as soon as LOOK_EVERY_MS have passed since the last reload: however
 * many arrive, they cost one reload a second. */
static void wait_for_end(struct process *process, int signals)
{
    struct lookout lookout = {0};
    uint64_t reloaded_ms = 0, look_at_ms = clock_monotonic_ms();
    bool reload_wanted = false;

    sd_notifyf(0, "READY=1\nSTATUS=Starting (%s, workers: %zu)", process->settings.listen,
               process->worker_count);
    for (;;) {
        uint64_t now_ms = clock_monotonic_ms();
        int signal_number;

        if (reload_wanted && now_ms - reloaded_ms >= LOOK_EVERY_MS)
            look_at_ms = now_ms;
        if (now_ms >= look_at_ms) {
            look_around(process, &lookout, reload_wanted);
            look_at_ms = now_ms + LOOK_EVERY_MS;
            if (reload_wanted)
                reloaded_ms = now_ms;
            reload_wanted = false;
        }
        signal_number = wait_for_signal(signals, (int)(look_at_ms - now_ms));
        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info("serve.draining", log_str("signal", strsignal(signal_number)),
                     log_int("timeout_s", process->settings.drain_timeout_s));
            return;
        }
        reload_wanted |= signal_number == SIGHUP;
    }
}

/* Exits without stopping the threads. */
_Noreturn static void end_now(int status)
{
    log_stop(LOG_STOP_MS);
    _exit(status);
}

static void wait_while_draining(struct process *process, int signals, int timeout_ms)
{
    int signal_number = wait_for_signal(signals, timeout_ms);

    if (signal_number == SIGTERM || signal_number == SIGINT) {
        log_warn("serve.stopped", log_str("reason", "a second signal"));
        end_now(CLI_FAILED);
    }
    keyring_refresh(&process->keys, false);
}

static void drain(struct process *process, struct admin *admin, int signals)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Draining");
    if (atomic_load(&process->workers_running) != 0 && handover_begin(&process->http)) {
        wait_while_draining(process, signals, HANDOVER_MS);
        handover_end(&process->http);
    }
    atomic_store(&process->drain_deadline_ms,
                 clock_monotonic_ms() + (uint64_t)process->settings.drain_timeout_s * 1000);
    admin_drain(admin, atomic_load(&process->drain_deadline_ms));
    while (atomic_load(&process->workers_running) != 0) {
        wait_while_draining(process, signals, 20);
        if (clock_monotonic_ms() > atomic_load(&process->drain_deadline_ms) + STUCK_MS) {
            log_error("serve.stopped", log_str("reason", "a worker is stuck, on its disk maybe; "
                                                         "what was answered is in the spool"));
            end_now(CLI_FAILED);
        }
    }
}

static bool open_ledger(struct process *process, struct failure *failure)
{
    const struct settings *settings = &process->settings;
    struct spool_config config = {
        .base = settings->spool_dir,
        .max_bytes = (uint64_t)settings->spool_max_bytes,
        .batch_rows = (uint64_t)settings->batch_rows,
        .batch_interval_ms = (uint64_t)settings->batch_interval_s * 1000,
    };
    struct failure cause;

    return ledger_open(&process->ledger, settings->database_url, &config, &cause) ||
           failure_set(failure, "%.400s; set JOTD_SPOOL_DIR", cause.reason);
}

static void describe(void *context, struct instance_state *state)
{
    struct process *process = context;
    struct pending pending = pending_read(process);

    state->pending_rows = pending.rows;
    state->oldest_pending_ms = pending.oldest_unix_ms;
    keyring_digest(&process->keys, clock_unix_ms() / 1000, state->keys);
}

static bool open_feed(struct process *process, struct failure *failure)
{
    const struct settings *settings = &process->settings;

    return (client_rate_open(&process->introspections, (uint32_t)settings->introspect_per_second) ||
            failure_set(failure, "out of memory")) &&
           (instance_open(&process->feed.instance, describe, process) ||
            failure_set(failure, "the system has no randomness")) &&
           feed_open(&process->feed, settings->database_url,
                     (uint64_t)settings->revocation_stale_s * 1000, failure);
}

static bool open_workers(struct process *process, struct failure *failure)
{
    size_t count = (size_t)process->settings.workers;

    if ((process->workers = calloc(count, sizeof(*process->workers))) == NULL)
        return failure_set(failure, "out of memory");
    for (size_t i = 0; i != count; ++i) {
        process->worker_count = i + 1; /* worker_close handles a half-open one */
        if (!worker_open(&process->workers[i], process, failure))
            return false;
    }
    return true;
}

static bool start_workers(struct process *process, struct failure *failure)
{
    for (size_t i = 0; i != process->worker_count; ++i) {
        if (!worker_start(&process->workers[i], failure))
            return false;
    }
    log_info("serve.started", log_str("version", JOTD_VERSION),
             log_str("listen", process->settings.listen),
             log_str("issuer", process->settings.issuer),
             log_int("workers", (int64_t)process->worker_count));
    handover_tell(&process->http);
    return true;
}

static void close_workers(struct process *process)
{
    for (size_t i = process->worker_count; i-- != 0;)
        worker_close(&process->workers[i]);
    free(process->workers);
}

/* The workers may have used up the drain time; the other threads still get half a second. */
static uint64_t stop_deadline_ms(const struct process *process)
{
    uint64_t drained_ms = atomic_load(&process->drain_deadline_ms);
    uint64_t least_ms = clock_monotonic_ms() + 500;

    return drained_ms > least_ms ? drained_ms : least_ms;
}

static int run(struct process *process, struct admin *admin, struct failure *failure)
{
    int signals, status = CLI_FAILED;
    uint64_t deadline_ms;

    log_level_apply(&process->settings);
    settings_warn(&process->settings);
    prometheus_process_update();
    raise_descriptor_limit(&process->settings);
    process->http.connections.max = (int)process->settings.max_connections;
    memory_budget_open(&process->http.connections.memory, (size_t)process->settings.memory_budget);
    if (!private_memory_lock())
        log_info("memory.not_locked",
                 log_str("reason",
                         "the limit of locked memory is below 4 MiB: where there is swap, "
                         "keys may get there; raise it (LimitMEMLOCK=, ulimit -l)"));
    if (!key_directory_check(process->settings.keys_dir, failure))
        return CLI_FAILED;
    if ((signals = open_signals()) == -1)
        return failure_set(failure, "no signalfd: %s", strerror(errno)), CLI_FAILED;
    if (!openapi_open(&process->openapi, process->settings.issuer, failure))
        return CLI_FAILED;
    keyring_open(&process->keys, process->settings.keys_dir);
    throttle_open(&process->throttle);
    limiter_shared_open(&process->limiter);
    routes_setup(process);
    admin_routes_setup(admin);

    if (open_ledger(process, failure) && open_feed(process, failure) &&
        handover_open(&process->http, failure) && open_workers(process, failure) &&
        admin_open(admin, process, failure) && ledger_start(&process->ledger, failure) &&
        feed_start(&process->feed, failure) && start_workers(process, failure) &&
        admin_start(admin, failure)) {
        wait_for_end(process, signals);
        status = CLI_DONE;
    }
    drain(process, admin, signals);
    for (size_t i = 0; i != process->worker_count; ++i)
        worker_join(&process->workers[i]);
    deadline_ms = stop_deadline_ms(process);
    if (!admin_stop(admin, deadline_ms) || !ledger_stop(&process->ledger, deadline_ms) ||
        !feed_stop(&process->feed, deadline_ms))
        end_now(status); /* the stuck thread still uses all this; the spool is complete */

    admin_close(admin);
    close_workers(process);
    handover_close(&process->http);
    memory_budget_close(&process->http.connections.memory);
    ledger_close(&process->ledger);
    feed_close(&process->feed);
    client_rate_close(&process->introspections);
    h2o_config_dispose(&process->http.h2o);
    limiter_shared_close(&process->limiter);
    throttle_close(&process->throttle);
    openapi_close(&process->openapi);
    keyring_close(&process->keys);
    close(signals);
    return status;
}

static int serve(const struct cli_command *command, const void *values)
{
    static struct admin admin;
    struct process process = {0};
    struct failure failure;
    int status = CLI_FAILED;

    (void)command, (void)values;
    if (!log_start())
        failure_set(&failure, "cannot start a thread");
    else if (settings_load(&process.settings,
                           SETTINGS_NEED_DATABASE | SETTINGS_NEED_ISSUER | SETTINGS_FOR_SERVER,
                           &failure))
        status = run(&process, &admin, &failure);
    if (status == CLI_DONE)
        log_info("serve.ended", log_int("status", status));
    else if (process.settings.log_format != LOG_FORMAT_TEXT)
        log_error("serve.failed", log_str("reason", failure.reason));
    log_stop(LOG_STOP_MS);
    if (status == CLI_FAILED && process.settings.log_format == LOG_FORMAT_TEXT)
        cli_fail(&failure);
    settings_dispose(&process.settings);
    return status;
}

const struct cli_command serve_command = {
    .path = "jotd serve",
    .summary = "issue tokens until SIGTERM",
    .help =
        "Serves POST /token, /introspect and /revoke, GET /revocations, the discovery documents,\n"
        "/openapi.json, /health, /ready and /metrics. Configured by environment variables only: "
        "`jotd config list` explains "
        "them,\n"
        "`jotd config check` prints the values in effect. Needs DATABASE_URL, a schema\n"
        "(`jotd migrate`) and a signing key (`jotd key create`).\n"
        "\n"
        "Signals: SIGTERM and SIGINT answer the requests in flight and exit; a second one "
        "exits\n"
        "at once. SIGHUP rereads the key directory and JOTD_LOG_LEVEL_FILE, at most once a\n"
        "second.",
    .run = serve,
};
