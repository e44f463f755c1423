/* Foreign file descriptors (libpq's, a timerfd) on an h2o loop.
 *
 * h2o's sockets do the polling, told to leave the bytes alone. The descriptor is duplicated and the
 * duplicate is watched, because libraries close their own without asking.
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

/* Begins to watch for reading; `on_ready` must have been set. False when descriptors ran out. */
MUST_USE bool watch_open(struct watch *watch, h2o_loop_t *loop, int fd);

/* Calls `on_ready` once when it is writable. */
void watch_for_write(struct watch *watch);

/* Harmless when it is closed already. */
void watch_close(struct watch *watch);

#endif
