/* `jotd serve`: set-up in order, wait for signals, tear-down in the opposite order. */
#include "auth/serve.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "auth/cli.h"
#include "auth/discovery.h"
#include "auth/handover.h"
#include "auth/log_level.h"
#include "auth/routes.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/log.h"

#define KEYS_EVERY_MS 1000
#define STUCK_MS      3000 /* after the time to drain, by when every worker should have ended */
#define LOG_STOP_MS   500  /* for the reader of the log to take the last lines */

static const struct cli_command help = {
    .name = "serve",
    .summary = "issue tokens until SIGTERM",
    .help =
        "Usage: jotd serve\n"
        "\n"
        "Serves POST /token, the discovery documents, /health, /ready and /metrics.\n"
        "Configured by environment variables only: `jotd config check` prints them with\n"
        "their effective values. Needs DATABASE_URL, a schema (`jotd migrate`) and a signing\n"
        "key (`jotd key create`).\n"
        "\n"
        "Signals: SIGTERM and SIGINT drain (what is on the wire is answered) and end, a second\n"
        "one ends at once; SIGHUP reads the key directory and JOTD_LOG_LEVEL_FILE again.\n",
};

/* Keys and digests are in memory: no core file, no other process that looks in. */
static void forbid_core_files(void)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
#ifndef __SANITIZE_ADDRESS__ /* whose leak check must look in */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

/* A descriptor for each connection and some for the rest, as far as the system allows. */
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

/* Blocked in every thread, since those that are started later inherit it. */
static int open_signals(void)
{
    sigset_t signals;

    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file at its limit is an error of write(), as a full disk is */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* The signal that came, or 0 when none did in time. */
static int wait_for_signal(int signals, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = signals, .events = POLLIN};
    struct signalfd_siginfo info;

    if (poll(&poll_fd, 1, timeout_ms) != 1 || read(signals, &info, sizeof(info)) != sizeof(info))
        return 0;
    return (int)info.ssi_signo;
}

/* To the service manager, see sd_notify(3). */
static void notify_ready(const struct process *process)
{
    sd_notifyf(0, "READY=1\nSTATUS=Serving at %s, workers: %zu", process->settings.listen,
               process->worker_count);
}

static void reload(struct process *process)
{
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_us());
    keyring_refresh(&process->keys, true);
    log_level_apply(&process->settings);
    notify_ready(process);
}

static void wait_for_end(struct process *process, int signals)
{
    notify_ready(process);
    for (;;) {
        int signal_number;

        handover_watch(process);
        metrics_process_update();
        signal_number = wait_for_signal(signals, KEYS_EVERY_MS);

        if (signal_number == SIGTERM || signal_number == SIGINT) {
            log_info("serve.draining", log_str("signal", strsignal(signal_number)),
                     log_int("timeout_s", process->settings.drain_timeout));
            return;
        }
        if (signal_number == SIGHUP)
            reload(process);
        else
            keyring_refresh(&process->keys, false);
    }
}

/* Threads are left as they are. */
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

static void drain(struct process *process, int signals)
{
    sd_notify(0, "STOPPING=1\nSTATUS=Draining");
    if (atomic_load(&process->workers_running) != 0 && handover_begin(process)) {
        wait_while_draining(process, signals, HANDOVER_MS);
        handover_end(process);
    }
    atomic_store(&process->drain_deadline_ms,
                 clock_monotonic_ms() + (uint64_t)process->settings.drain_timeout * 1000);
    while (atomic_load(&process->workers_running) != 0) {
        wait_while_draining(process, signals, 20);
        if (clock_monotonic_ms() > atomic_load(&process->drain_deadline_ms) + STUCK_MS) {
            log_error("serve.stopped", log_str("reason", "a worker is stuck, on its disk maybe; "
                                                         "what was answered is in the spool"));
            end_now(CLI_FAILED);
        }
    }
}

static bool open_workers(struct process *process, struct failure *failure)
{
    size_t count = (size_t)process->settings.workers;

    if ((process->workers = calloc(count, sizeof(*process->workers))) == NULL)
        return failure_set(failure, "out of memory");
    for (size_t i = 0; i != count; ++i) {
        process->worker_count = i + 1; /* worker_close copes with one that is half open */
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
    return true;
}

static void close_workers(struct process *process)
{
    for (size_t i = process->worker_count; i-- != 0;)
        worker_close(&process->workers[i]);
    free(process->workers);
}

/* The workers may have used up the time: half a second is left to the ledger in any case. */
static uint64_t ledger_deadline_ms(const struct process *process)
{
    uint64_t drained_ms = atomic_load(&process->drain_deadline_ms);
    uint64_t least_ms = clock_monotonic_ms() + 500;

    return drained_ms > least_ms ? drained_ms : least_ms;
}

static int run(struct process *process, struct failure *failure)
{
    int signals, status = CLI_FAILED;

    log_level_apply(&process->settings);
    metrics_process_update();
    forbid_core_files();
    raise_descriptor_limit(&process->settings);
    process->connections.max = (int)process->settings.max_connections;
    if ((signals = open_signals()) == -1)
        return failure_set(failure, "no signalfd: %s", strerror(errno)), CLI_FAILED;
    keyring_open(&process->keys, process->settings.keys_dir);
    throttle_open(&process->throttle);
    limits_shared_open(&process->limits);
    process->metadata = discovery_metadata(process->settings.issuer);
    routes_setup(&process->h2o);

    if (ledger_open(&process->ledger, &process->settings, failure) &&
        handover_open(process, failure) && open_workers(process, failure) &&
        ledger_start(&process->ledger, failure) && start_workers(process, failure)) {
        wait_for_end(process, signals);
        status = CLI_DONE;
    }
    drain(process, signals);
    for (size_t i = 0; i != process->worker_count; ++i)
        worker_join(&process->workers[i]);
    if (!ledger_stop(&process->ledger, ledger_deadline_ms(process)))
        end_now(status); /* its thread is stuck and still uses all this; the spool is complete */

    close_workers(process);
    handover_close(process);
    ledger_close(&process->ledger);
    h2o_config_dispose(&process->h2o);
    free(process->metadata);
    limits_shared_close(&process->limits);
    throttle_close(&process->throttle);
    keyring_close(&process->keys);
    close(signals);
    return status;
}

int serve(int argc, char **argv)
{
    struct process process = {.handover = {.inherited = {-1, -1}}};
    struct failure failure;
    int status = CLI_FAILED;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(help.help, stdout);
        return CLI_DONE;
    }
    if (argc > 1)
        return cli_usage(&help, "unexpected argument: %s", argv[1]);
    if (!log_start())
        failure_set(&failure, "cannot start a thread");
    else if (settings_load(&process.settings,
                           SETTINGS_NEED_DATABASE | SETTINGS_NEED_ISSUER | SETTINGS_FOR_SERVER,
                           &failure))
        status = run(&process, &failure);
    if (status == CLI_DONE)
        log_info("serve.ended", log_int("status", status));
    log_stop(LOG_STOP_MS);
    if (status == CLI_FAILED)
        cli_fail(&failure);
    settings_dispose(&process.settings);
    return status;
}
