#include "common/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_port(const char *text, in_port_t *port)
{
    unsigned long number = 0;

    if (*text == '\0' || strlen(text) > 5 || strspn(text, "0123456789") != strlen(text))
        return false;
    number = strtoul(text, NULL, 10);
    *port = htons((uint16_t)number);
    return number != 0 && number <= 65535;
}

static bool parse_local(const char *path, struct address *address)
{
    struct sockaddr_un *local = &address->socket.local;

    if (path[0] != '/' || strlen(path) >= sizeof(local->sun_path))
        return false;
    local->sun_family = AF_UNIX;
    strcpy(local->sun_path, path);
    address->length = sizeof(*local);
    return true;
}

bool address_parse(const char *text, struct address *address)
{
    const char *colon = strrchr(text, ':');
    char host[INET6_ADDRSTRLEN];
    size_t length;

    memset(address, 0, sizeof(*address));
    if (strncmp(text, "unix:", 5) == 0)
        return parse_local(text + 5, address);
    if (colon == NULL)
        return false;
    length = (size_t)(colon - text);
    if (text[0] == '[' && length > 2 && length - 2 < sizeof(host) && colon[-1] == ']') {
        memcpy(host, text + 1, length - 2);
        host[length - 2] = '\0';
        address->socket.v6.sin6_family = AF_INET6;
        address->length = sizeof(address->socket.v6);
        return inet_pton(AF_INET6, host, &address->socket.v6.sin6_addr) == 1 &&
               parse_port(colon + 1, &address->socket.v6.sin6_port);
    }
    if (length >= sizeof(host))
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    if (length == 0)
        strcpy(host, "0.0.0.0");
    else if (strcmp(host, "localhost") == 0)
        strcpy(host, "127.0.0.1");
    address->socket.v4.sin_family = AF_INET;
    address->length = sizeof(address->socket.v4);
    return inet_pton(AF_INET, host, &address->socket.v4.sin_addr) == 1 &&
           parse_port(colon + 1, &address->socket.v4.sin_port);
}

bool address_is_loopback(const struct address *address)
{
    switch (address->socket.any.sa_family) {
    case AF_INET:
        return ntohl(address->socket.v4.sin_addr.s_addr) >> 24 == 127;
    case AF_INET6:
        return IN6_IS_ADDR_LOOPBACK(&address->socket.v6.sin6_addr);
    default:
        return false;
    }
}
