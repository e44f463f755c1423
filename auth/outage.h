/* What goes on while a neighbour is away, for those who read the log or ask the service manager: a
 * line each minute with what it has cost since, and a status in words. Main thread.
 */
#ifndef AUTH_OUTAGE_H
#define AUTH_OUTAGE_H

#include <stdint.h>

#include "auth/process.h"

#define OUTAGE_LINE_MS 60000

/* Counts at its begin. */
struct outage {
    uint64_t since_ms; /* monotonic; 0: the neighbour is there */
    uint64_t line_ms;  /* when the next line is due */
    uint64_t stale;    /* tokens of clients whose entry had expired */
    uint64_t refused;  /* answers of temporarily_unavailable */
    uint64_t decided;  /* on quotas, without Redis */
};

struct outages {
    struct outage postgres, redis;
    const char *status; /* what the service manager was told last */
};

/* About once a second. */
void outages_look(struct outages *outages, const struct process *process);

#endif
