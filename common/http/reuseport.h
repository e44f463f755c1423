/* Sockets of several processes that listen on one address (SO_REUSEPORT), and how one process
 * leaves without resetting clients that are just connecting.
 *
 * The kernel spreads connections over the group by a hash. It resets those that hash to a socket
 * that is then closed, so it is told first to choose others. It knows the sockets of a group by
 * position: in the order in which they began to listen; when one closes, the last one takes its
 * position.
 */
#ifndef COMMON_HTTP_REUSEPORT_H
#define COMMON_HTTP_REUSEPORT_H

#include <stdbool.h>

#include "common/attributes.h"

/* How many TCP sockets listen on the address of `fd`, itself included; -1 when that cannot be
 * determined. */
MUST_USE int reuseport_count(int fd);

/* Sends new connections of the whole group of `fd` to the `count` positions from `first`, until
 * reuseport_unsteer. For a position that does not exist, the kernel uses its hash. */
MUST_USE bool reuseport_steer(int fd, unsigned first, unsigned count);

/* Harmless when nothing is steered. */
void reuseport_unsteer(int fd);

/* Leaves SYNs to this socket unanswered: clients send them again a second later, and reach another
 * socket once this one is closed. */
MUST_USE bool reuseport_ignore_new(int fd);

#endif
