/* Sockets of several processes that listen on one address (SO_REUSEPORT), and how one of them
 * leaves without a reset for whoever is just connecting.
 *
 * The kernel spreads connections over the group by a hash. What hashes to a socket that is then
 * closed is reset, so the kernel is told first to choose others. It knows the sockets of a group by
 * their places: in the order in which they began to listen; when one is closed, the last one takes
 * its place.
 */
#ifndef COMMON_HTTP_REUSEPORT_H
#define COMMON_HTTP_REUSEPORT_H

#include <stdbool.h>

#include "common/attributes.h"

/* How many TCP sockets listen on the address of `fd`, itself included; -1 when that is not to be
 * found out. */
MUST_USE int reuseport_count(int fd);

/* New connections go to the `count` places from `first` on, for the whole group of `fd`, until
 * reuseport_unsteer. A place that is not there is as if nothing had been said. */
MUST_USE bool reuseport_steer(int fd, unsigned first, unsigned count);

/* Harmless where nobody steers. */
void reuseport_unsteer(int fd);

/* SYNs that come to this socket go unanswered: they are sent again a second later, and find another
 * one once this is closed. */
MUST_USE bool reuseport_ignore_new(int fd);

#endif
