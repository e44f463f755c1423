/* Socket addresses as people write them: 127.0.0.1:8080, localhost:8080, [::1]:8080, :8080 (any
 * IPv4 address), unix:/run/jotd.sock. */
#ifndef COMMON_ADDRESS_H
#define COMMON_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/attributes.h"

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un local;
    } socket;
    socklen_t length;
};

/* Numeric addresses and localhost only: other names may have several addresses, and a look-up
 * blocks. */
MUST_USE bool address_parse(const char *text, struct address *address);

bool address_is_loopback(const struct address *address);

#endif
