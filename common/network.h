/* Who is at the other end: IP addresses without a port, and networks in CIDR notation.
 *
 * An IPv4 address is kept as the IPv6 address that it is mapped to (RFC 4291 2.5.5.2), so that one
 * form serves both; the unspecified address (::) stands for a local socket.
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
    bool local; /* local sockets belong to it */
};

struct network_address network_address_of(const struct sockaddr *socket);

/* 127.0.0.0/8 or ::1; a local socket is none. */
MUST_USE bool network_address_is_loopback(const struct network_address *address);

/* 192.0.2.1, 2001:db8::1, also with a port as proxies write it: 192.0.2.1:80, [2001:db8::1]:80. */
MUST_USE bool network_address_parse(struct slice text, struct network_address *address);

/* Writes it as people do, `local` for a local socket. Returns `text`. */
const char *network_address_format(const struct network_address *address,
                                   char text[NETWORK_TEXT_MAX]);

/* A list separated by commas or spaces: addresses, networks (10.0.0.0/8), and the word `unix` for
 * local sockets. False when something else stands in it, or too much. */
MUST_USE bool network_list_parse(const char *text, struct network_list *networks);

/* Whether one of them is as good as the whole internet: shorter than /8, of IPv6 than /16, or an
 * IPv6 network that holds all of IPv4. */
MUST_USE bool network_list_is_everyone(const struct network_list *networks);

MUST_USE bool network_list_has(const struct network_list *networks,
                               const struct network_address *address);

#endif
