/* Resolves host names without blocking the loop: getaddrinfo_a does the work in glibc's own
 * threads, a timer polls for the result. */
#ifndef COMMON_RESOLVE_H
#define COMMON_RESOLVE_H

#include <netdb.h>

#include "common/timer.h"

/* Zero it and set `on_done`. */
struct resolve {
    struct gaicb *request; /* NULL: idle */
    struct timers *timers;
    struct timer timer;
    int queue_error; /* an EAI_ code when the request could not be queued; otherwise 0 */
    /* `addresses` is NULL after a failure, with the reason in words; otherwise valid during the
     * call. */
    void (*on_done)(struct resolve *, const struct addrinfo *addresses, const char *reason);
};

/* Calls `on_done` once, later, unless cancelled first. Copies both texts. */
void resolve_start(struct resolve *resolve, struct timers *timers, const char *host,
                   const char *port);

/* Harmless when it is idle. */
void resolve_cancel(struct resolve *resolve);

#endif
