/* Logs refused authentications, rate-limited. Each worker has its own. */
#ifndef AUTH_CLIENT_AUTH_LOG_H
#define AUTH_CLIENT_AUTH_LOG_H

#include "auth/client/auth_failure.h"
#include "common/slice.h"
#include "common/timer.h"

#define AUTH_LOG_LINES     10 /* per window */
#define AUTH_LOG_WINDOW_MS 1000
#define AUTH_LOG_ID_MAX    64 /* bytes of the client id shown */

struct auth_log {
    struct timers *timers;
    struct timer window; /* running while a window is open */
    unsigned lines;
    uint64_t suppressed;
};

void auth_log_open(struct auth_log *log, struct timers *timers);
void auth_log_close(struct auth_log *log);

/* `client_id` as presented: any bytes, empty if absent. */
void auth_log_refused(struct auth_log *log, enum auth_failure reason, struct slice client_id,
                      const char *peer);

#endif
