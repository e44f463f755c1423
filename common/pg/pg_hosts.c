#include "common/pg/pg_hosts.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"

static const char *option(const struct pg_hosts *hosts, const char *keyword)
{
    for (const PQconninfoOption *o = hosts->options; o != NULL && o->keyword != NULL; ++o) {
        if (strcmp(o->keyword, keyword) == 0)
            return o->val != NULL ? o->val : "";
    }
    return "";
}

/* Copies the index-th of the comma-separated values. */
static bool list_item(const char *list, size_t index, char *item, size_t size)
{
    if (strchr(list, ',') == NULL && index != 0)
        return false;
    for (; index != 0; --index) {
        if ((list = strchr(list, ',')) == NULL)
            return false;
        ++list;
    }
    snprintf(item, size, "%.*s", (int)strcspn(list, ","), list);
    return true;
}

/* Keeps the list NUL-terminated; items may be empty. */
static void append_item(const struct pg_hosts *hosts, struct buffer *list, const char *item)
{
    if (hosts->address_count != 0)
        list->bytes[list->size - 1] = ',';
    buffer_append(list, item, strlen(item) + 1);
}

static void add_address(struct pg_hosts *hosts, const char *host, const char *address,
                        const char *port)
{
    append_item(hosts, &hosts->names, host);
    append_item(hosts, &hosts->addresses, address);
    append_item(hosts, &hosts->ports, port);
    ++hosts->address_count;
}

/* Resolves the next host that is a name, or finishes when none is left. */
static void resolve_next(struct pg_hosts *hosts)
{
    char host[PG_HOSTS_ITEM_MAX], port[PG_HOSTS_ITEM_MAX];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *numeric;

    if (*option(hosts, "hostaddr") != '\0' || *option(hosts, "host") == '\0') {
        hosts->on_done(hosts, NULL);
        return;
    }
    for (; list_item(option(hosts, "host"), hosts->host, host, sizeof(host)); ++hosts->host) {
        if (!list_item(option(hosts, "port"), hosts->host, port, sizeof(port)) &&
            !list_item(option(hosts, "port"), 0, port, sizeof(port)))
            port[0] = '\0';
        if (port[0] == '\0')
            strcpy(port, "5432");
        if (host[0] == '/' || host[0] == '@') { /* a local socket */
            add_address(hosts, host, "", port);
        } else if (getaddrinfo(host, NULL, &hints, &numeric) == 0) {
            freeaddrinfo(numeric);
            add_address(hosts, host, host, port);
        } else {
            resolve_start(&hosts->resolve, hosts->timers, host, port);
            return;
        }
    }
    hosts->on_done(hosts, hosts->address_count != 0 ? NULL : "no host of the URL has an address");
}

static void on_resolved(struct resolve *resolve, const struct addrinfo *addresses,
                        const char *reason)
{
    struct pg_hosts *hosts = H2O_STRUCT_FROM_MEMBER(struct pg_hosts, resolve, resolve);
    char host[PG_HOSTS_ITEM_MAX], address[PG_HOSTS_ITEM_MAX], port[PG_HOSTS_ITEM_MAX];

    if (!list_item(option(hosts, "host"), hosts->host, host, sizeof(host)))
        host[0] = '\0';
    if (addresses == NULL)
        log_debug("pg.name", log_str("host", host), log_str("reason", reason));
    for (; addresses != NULL; addresses = addresses->ai_next) {
        if (getnameinfo(addresses->ai_addr, addresses->ai_addrlen, address, sizeof(address), port,
                        sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) == 0)
            add_address(hosts, host, address, port);
    }
    ++hosts->host;
    resolve_next(hosts);
}

void pg_hosts_open(struct pg_hosts *hosts, const char *url, struct timers *timers)
{
    hosts->options = PQconninfoParse(url, NULL);
    hosts->timers = timers;
    hosts->resolve.on_done = on_resolved;
}

void pg_hosts_resolve(struct pg_hosts *hosts)
{
    hosts->host = 0;
    hosts->address_count = 0;
    buffer_clear(&hosts->names);
    buffer_clear(&hosts->addresses);
    buffer_clear(&hosts->ports);
    resolve_next(hosts);
}

void pg_hosts_cancel(struct pg_hosts *hosts)
{
    resolve_cancel(&hosts->resolve);
}

/* One address per attempt, in turn: given several, libpq has no deadline for each, and would never
 * get past a silent one. */
bool pg_hosts_choose(const struct pg_hosts *hosts, struct pg_address *address)
{
    size_t turn;

    if (hosts->address_count == 0)
        return false;
    turn = hosts->turn % hosts->address_count;
    return list_item(hosts->names.bytes, turn, address->host, sizeof(address->host)) &&
           list_item(hosts->addresses.bytes, turn, address->address, sizeof(address->address)) &&
           list_item(hosts->ports.bytes, turn, address->port, sizeof(address->port));
}

bool pg_hosts_next(struct pg_hosts *hosts)
{
    return hosts->address_count != 0 && ++hosts->turn % hosts->address_count != 0;
}

void pg_hosts_close(struct pg_hosts *hosts)
{
    pg_hosts_cancel(hosts);
    PQconninfoFree(hosts->options);
    hosts->options = NULL;
    buffer_dispose(&hosts->names);
    buffer_dispose(&hosts->addresses);
    buffer_dispose(&hosts->ports);
}
