/* Foreign file descriptors (libpq's, a timerfd) on an h2o loop.
 *
 * An h2o socket does the polling and leaves the bytes alone. It watches a duplicate of the
 * descriptor, because libraries close their own without notice.
 */
#ifndef COMMON_WATCH_H
#define COMMON_WATCH_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"

struct watch {
    h2o_socket_t *socket;             /* NULL: not watching */
    void (*on_ready)(struct watch *); /* readable, writable or hung up; may close the watch */
};

/* Starts watching for input; `on_ready` must be set. False when out of descriptors. */
MUST_USE bool watch_open(struct watch *watch, h2o_loop_t *loop, int fd);

/* Calls `on_ready` once when it is writable. */
void watch_for_write(struct watch *watch);

/* Harmless when already closed. */
void watch_close(struct watch *watch);

#endif
