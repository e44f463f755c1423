/* IP addresses without a port, and networks in CIDR notation.
 *
 * An IPv4 address is held as its IPv4-mapped IPv6 address (RFC 4291 2.5.5.2), so that one form
 * serves both; the unspecified address (::) means a local socket.
 */
#ifndef COMMON_NETWORK_H
#define COMMON_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "common/attributes.h"
#include "common/slice.h"

#define NETWORK_MAX      64               /* networks in one list */
#define NETWORK_TEXT_MAX INET6_ADDRSTRLEN /* bytes of an address as text, with the NUL */

struct network_address {
    unsigned char bytes[16];
};

struct network_list {
    struct {
        struct network_address address;
        unsigned prefix; /* bits, of 128 */
    } items[NETWORK_MAX];
    size_t count;
    bool local; /* includes local sockets */
};

struct network_address network_address_of(const struct sockaddr *socket);

MUST_USE bool network_address_is_local(const struct network_address *address);

/* 127.0.0.0/8 or ::1, but not a local socket. */
MUST_USE bool network_address_is_loopback(const struct network_address *address);

/* 192.0.2.1 or 2001:db8::1, optionally with a port as proxies write it: 192.0.2.1:80,
 * [2001:db8::1]:80. */
MUST_USE bool network_address_parse(struct slice text, struct network_address *address);

/* Writes it in the usual form, or `local` for a local socket. Returns `text`. */
const char *network_address_format(const struct network_address *address,
                                   char text[NETWORK_TEXT_MAX]);

/* A list separated by commas or spaces: addresses, networks (10.0.0.0/8), and the word `unix` for
 * local sockets. False on anything else, or on more than NETWORK_MAX. */
MUST_USE bool network_list_parse(const char *text, struct network_list *networks);

/* Whether one of them is practically the whole internet: an IPv4 network wider than /8, an IPv6
 * network wider than /16, or an IPv6 network that contains all of IPv4. */
MUST_USE bool network_list_is_everyone(const struct network_list *networks);

MUST_USE bool network_list_has(const struct network_list *networks,
                               const struct network_address *address);

#endif
