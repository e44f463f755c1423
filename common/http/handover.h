/* Restarts that lose no connection.
 *
 * Sockets that the service manager hands over (sd_listen_fds(3)) are never closed: what connects
 * between one process and the next waits. Our own share their address with those of the next
 * process, which has to serve before this one drains; then the kernel is told to choose those, and
 * ours are closed when nobody is left in them.
 */
#ifndef COMMON_HTTP_HANDOVER_H
#define COMMON_HTTP_HANDOVER_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"

struct process;

#define HANDOVER_MS 50 /* for handshakes that have begun at our sockets to end */

/* What was handed over, and what is known of who else listens: the public address, the one for
 * metrics. Belongs to the main thread once the workers run. */
struct handover {
    int inherited[2]; /* -1: none */
    bool first[2];    /* this process was seen alone there: who came later is behind it */
};

/* Takes what was handed over. `inherited` must be -1. */
MUST_USE bool handover_open(struct process *process, struct failure *failure);
void handover_close(struct process *process);

/* Says in the log whether others listen at our addresses, which then get a part of what comes. */
void handover_tell(const struct process *process);

/* About once a second while serving. */
void handover_watch(struct process *process);

/* Sends new connections elsewhere. True when that took effect for some address: then HANDOVER_MS
 * later, handover_end is due. False where nobody else listens. */
MUST_USE bool handover_begin(struct process *process);
void handover_end(struct process *process);

#endif
