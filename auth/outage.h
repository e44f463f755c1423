/* Reports outages of PostgreSQL and Redis: a log line a minute that says what the outage has cost
 * so far, and a status text for the service manager. Main thread only.
 */
#ifndef AUTH_OUTAGE_H
#define AUTH_OUTAGE_H

#include <stdint.h>

#include "auth/process.h"

#define OUTAGE_LINE_MS 60000

/* The counts are the totals when the outage began. */
struct outage {
    uint64_t since_ms; /* monotonic; 0: no outage */
    uint64_t line_ms;  /* monotonic: when the next line is due */
    uint64_t stale;    /* stale cache hits */
    uint64_t refused;  /* temporarily_unavailable responses */
    uint64_t decided;  /* quota decisions made without Redis */
};

struct outages {
    struct outage postgres, redis;
    const char *status; /* last sent to the service manager */
};

/* Call about once a second. */
void outages_look(struct outages *outages, const struct process *process);

#endif
