#include "common/network.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char v4_mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct network_address *address)
{
    return memcmp(address->bytes, v4_mapped, sizeof(v4_mapped)) == 0;
}

bool network_address_is_local(const struct network_address *address)
{
    static const struct network_address unspecified;

    return memcmp(address, &unspecified, sizeof(unspecified)) == 0;
}

struct network_address network_address_of(const struct sockaddr *socket)
{
    struct network_address address = {{0}};

    if (socket->sa_family == AF_INET) {
        memcpy(address.bytes, v4_mapped, sizeof(v4_mapped));
        memcpy(address.bytes + 12, &((const struct sockaddr_in *)socket)->sin_addr, 4);
    } else if (socket->sa_family == AF_INET6) {
        memcpy(address.bytes, &((const struct sockaddr_in6 *)socket)->sin6_addr, 16);
    }
    return address;
}

bool network_address_is_loopback(const struct network_address *address)
{
    return is_v4(address)
               ? address->bytes[12] == 127
               : memcmp(address->bytes, &in6addr_loopback, sizeof(in6addr_loopback)) == 0;
}

/* Strips the port. An IPv6 address has one only after brackets. */
static struct slice without_port(struct slice text)
{
    const char *end;

    if (text.length != 0 && text.bytes[0] == '[') {
        end = memchr(text.bytes, ']', text.length);
        return end == NULL ? text : (struct slice){text.bytes + 1, (size_t)(end - text.bytes) - 1};
    }
    end = memchr(text.bytes, ':', text.length);
    if (end != NULL && memchr(end + 1, ':', text.length - (size_t)(end + 1 - text.bytes)) == NULL)
        text.length = (size_t)(end - text.bytes);
    return text;
}

bool network_address_parse(struct slice text, struct network_address *address)
{
    char copy[NETWORK_TEXT_MAX];

    text = without_port(text);
    if (text.length == 0 || text.length >= sizeof(copy) ||
        memchr(text.bytes, '\0', text.length) != NULL)
        return false;
    memcpy(copy, text.bytes, text.length);
    copy[text.length] = '\0';
    memcpy(address->bytes, v4_mapped, sizeof(v4_mapped));
    return inet_pton(AF_INET, copy, address->bytes + 12) == 1 ||
           inet_pton(AF_INET6, copy, address->bytes) == 1;
}

const char *network_address_format(const struct network_address *address,
                                   char text[NETWORK_TEXT_MAX])
{
    if (network_address_is_local(address))
        return strcpy(text, "local");
    return is_v4(address) ? inet_ntop(AF_INET, address->bytes + 12, text, NETWORK_TEXT_MAX)
                          : inet_ntop(AF_INET6, address->bytes, text, NETWORK_TEXT_MAX);
}

/* Adds one item of a list. */
static bool add_network(struct network_list *networks, struct slice text)
{
    const char *slash = memchr(text.bytes, '/', text.length);
    struct slice host = {text.bytes, slash == NULL ? text.length : (size_t)(slash - text.bytes)};
    struct network_address address;
    unsigned long prefix;
    unsigned most;
    char *end;

    if (slice_equal(text, SLICE("unix"))) {
        networks->local = true;
        return true;
    }
    if (networks->count == NETWORK_MAX || !network_address_parse(host, &address))
        return false;
    most = is_v4(&address) ? 32 : 128;
    prefix = most;
    if (slash != NULL) {
        if (slash[1] < '0' || slash[1] > '9')
            return false;
        prefix = strtoul(slash + 1, &end, 10);
        if (prefix > most || end != text.bytes + text.length)
            return false;
    }
    networks->items[networks->count].address = address;
    networks->items[networks->count++].prefix = (unsigned)prefix + 128 - most;
    return true;
}

bool network_list_parse(const char *text, struct network_list *networks)
{
    static const char separators[] = ", \t";

    *networks = (struct network_list){.count = 0};
    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        struct slice item = {text, strcspn(text, separators)};

        if (!add_network(networks, item))
            return false;
        text += item.length;
    }
    return true;
}

static bool is_in(const struct network_address *address, const struct network_address *network,
                  unsigned prefix)
{
    size_t whole = prefix / 8;
    unsigned rest = prefix % 8;

    return memcmp(address->bytes, network->bytes, whole) == 0 &&
           (rest == 0 || ((address->bytes[whole] ^ network->bytes[whole]) >> (8 - rest)) == 0);
}

bool network_list_is_everyone(const struct network_list *networks)
{
    struct network_address any_v4 = {{0}};

    memcpy(any_v4.bytes, v4_mapped, sizeof(v4_mapped));
    for (size_t i = 0; i != networks->count; ++i) {
        unsigned prefix = networks->items[i].prefix;

        if (prefix < 16 || (prefix < 96 + 8 &&
                            is_in(&any_v4, &networks->items[i].address, prefix < 96 ? prefix : 96)))
            return true;
    }
    return false;
}

bool network_list_has(const struct network_list *networks, const struct network_address *address)
{
    if (network_address_is_local(address))
        return networks->local;
    for (size_t i = 0; i != networks->count; ++i) {
        if (is_in(address, &networks->items[i].address, networks->items[i].prefix))
            return true;
    }
    return false;
}
