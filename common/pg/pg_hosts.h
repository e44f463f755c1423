/* The hosts of a PostgreSQL URL as addresses to try, one per attempt and in turn. Names are
 * resolved without blocking the loop, unlike in libpq; addresses and local sockets are used as they
 * are. When the URL has a `hostaddr` or no host at all, there is nothing to resolve or choose, and
 * libpq takes the URL as it is.
 */
#ifndef COMMON_PG_PG_HOSTS_H
#define COMMON_PG_PG_HOSTS_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/resolve.h"
#include "common/timer.h"

#define PG_HOSTS_ITEM_MAX 256 /* bytes of a host's name, an address or a port, with the NUL */

/* What libpq calls host, hostaddr and port. */
struct pg_address {
    char host[PG_HOSTS_ITEM_MAX];
    char address[PG_HOSTS_ITEM_MAX]; /* empty: `host` is a local socket */
    char port[PG_HOSTS_ITEM_MAX];
};

/* Zero it, set `on_done` and open it. */
struct pg_hosts {
    PQconninfoOption *options; /* of the URL; NULL: it cannot be parsed */
    struct timers *timers;
    struct resolve resolve;
    size_t host;                           /* which of the URL's hosts is being resolved */
    struct buffer names, addresses, ports; /* of the addresses to try, comma-separated */
    size_t address_count;
    size_t turn; /* index of the address to try, modulo address_count */
    /* All names have been looked up. `reason` is NULL, or says in words why there is nothing to
     * connect to. */
    void (*on_done)(struct pg_hosts *, const char *reason);
};

/* `url` is a libpq URI; one that cannot be parsed counts as one without hosts. */
void pg_hosts_open(struct pg_hosts *hosts, const char *url, struct timers *timers);

/* Harmless when already closed. */
void pg_hosts_close(struct pg_hosts *hosts);

/* Discards the addresses and resolves them again. Calls `on_done` once unless cancelled, and within
 * the call when no name needs a look-up. */
void pg_hosts_resolve(struct pg_hosts *hosts);

/* Harmless when nothing is being looked up. */
void pg_hosts_cancel(struct pg_hosts *hosts);

/* The current address. False when there is none to choose. */
MUST_USE bool pg_hosts_choose(const struct pg_hosts *hosts, struct pg_address *address);

/* The current address failed: moves on to the next. False at the end of a round, when each has been
 * tried, or when there is none. */
MUST_USE bool pg_hosts_next(struct pg_hosts *hosts);

#endif
