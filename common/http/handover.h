/* Restarts that lose no connection.
 *
 * Sockets that the service manager hands over (sd_listen_fds(3)) are never closed: what connects
 * between one process and the next waits. Our own share their address with those of the next
 * process, which has to serve before this one drains; then the kernel is told to choose those, and
 * ours are closed when nobody is left in them.
 *
 * Belongs to the main thread.
 */
#ifndef COMMON_HTTP_HANDOVER_H
#define COMMON_HTTP_HANDOVER_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/http.h"

#define HANDOVER_MS 50 /* for handshakes that have begun at our sockets to end */

/* Takes what was handed over, before the first loop listens. The `inherited` of every address must
 * be -1. */
MUST_USE bool handover_open(struct http *http, struct failure *failure);
void handover_close(struct http *http);

/* Says in the log whether others listen at our addresses, which then get a part of what comes. */
void handover_tell(const struct http *http);

/* About once a second while serving. */
void handover_watch(struct http *http);

/* Sends new connections elsewhere. True when that took effect for some address: then HANDOVER_MS
 * later, handover_end is due. False where nobody else listens. */
MUST_USE bool handover_begin(struct http *http);
void handover_end(struct http *http);

#endif
