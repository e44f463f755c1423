#include "auth/client/auth_log.h"

#include <h2o.h>

#include "auth/client/secret.h"
#include "common/log.h"

static void end_window(struct auth_log *log)
{
    if (log->suppressed != 0)
        log_info("auth.suppressed", log_int("lines", (int64_t)log->suppressed),
                 log_str("reason", "more authentications were refused than are logged"));
    log->suppressed = 0;
    log->lines = 0;
}

static void on_window_end(struct timer *timer)
{
    end_window(H2O_STRUCT_FROM_MEMBER(struct auth_log, window, timer));
}

void auth_log_open(struct auth_log *log, struct timers *timers)
{
    *log = (struct auth_log){.timers = timers, .window.on_time = on_window_end};
}

void auth_log_close(struct auth_log *log)
{
    if (log->timers == NULL)
        return;
    timer_stop(log->timers, &log->window);
    end_window(log);
}

void auth_log_refused(struct auth_log *log, enum auth_failure reason, struct slice client_id,
                      const char *peer)
{
    struct slice shown = secret_is_suspected(client_id) ? SLICE("(a secret?)") : client_id;

    if (!timer_is_running(&log->window))
        timer_start(log->timers, &log->window, AUTH_LOG_WINDOW_MS);
    if (log->lines == AUTH_LOG_LINES) {
        ++log->suppressed;
        return;
    }
    ++log->lines;
    if (shown.length > AUTH_LOG_ID_MAX)
        shown.length = AUTH_LOG_ID_MAX;
    log_info("auth.refused", log_slice("client", shown), log_str("peer", peer),
             log_str("reason", auth_failure_name(reason)));
}
