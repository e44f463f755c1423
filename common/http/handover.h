/* Restarts that lose no connection.
 *
 * Sockets that the service manager hands over (sd_listen_fds(3)) never close: connections made
 * between two processes wait. Sockets of our own share their address with those of the next
 * process, which must serve before this one drains; then the kernel is told to choose those, and
 * ours close once nobody is left in them.
 *
 * Main thread only.
 */
#ifndef COMMON_HTTP_HANDOVER_H
#define COMMON_HTTP_HANDOVER_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/http.h"

#define HANDOVER_MS 50 /* for handshakes begun at our sockets to finish */

/* Takes the sockets that were handed over, before the first loop listens. The `inherited` of every
 * address must be -1. */
MUST_USE bool handover_open(struct http *http, struct failure *failure);
void handover_close(struct http *http);

/* Logs whether other processes listen at our addresses and so get a share of the connections. */
void handover_tell(const struct http *http);

/* Call about once a second while serving. */
void handover_watch(struct http *http);

/* Sends new connections to the other processes. True when some address is shared: call handover_end
 * HANDOVER_MS later. False when nobody else listens. */
MUST_USE bool handover_begin(struct http *http);
void handover_end(struct http *http);

#endif
