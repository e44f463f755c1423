/* The hosts of a PostgreSQL URL as addresses to try, one an attempt and in turn. Names are resolved
 * without blocking the loop, which libpq would do; addresses and sockets in the file system stand
 * as they are. Where the URL has a `hostaddr` or no host at all, there is nothing to resolve nor to
 * choose, and libpq takes the URL as it is.
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
    char address[PG_HOSTS_ITEM_MAX]; /* empty: `host` is a socket in the file system */
    char port[PG_HOSTS_ITEM_MAX];
};

/* Zero it, set `on_done` and open it. */
struct pg_hosts {
    PQconninfoOption *options; /* of the URL; NULL: it cannot be read */
    struct timers *timers;
    struct resolve resolve;
    size_t host;                           /* which of the URL's hosts is being resolved */
    struct buffer names, addresses, ports; /* what can be tried, comma-separated */
    size_t address_count;
    size_t turn; /* which of them is tried, counted on */
    /* All names are looked up. `reason` is NULL, or says in words why there is nothing to connect
     * to. */
    void (*on_done)(struct pg_hosts *, const char *reason);
};

/* `url` is a libpq URI; one that cannot be read counts as one without hosts. */
void pg_hosts_open(struct pg_hosts *hosts, const char *url, struct timers *timers);

/* Harmless when it is closed already. */
void pg_hosts_close(struct pg_hosts *hosts);

/* Forgets the addresses and finds them anew. Calls `on_done` once, within the call when no name has
 * to be looked up, unless it is cancelled before. */
void pg_hosts_resolve(struct pg_hosts *hosts);

/* Harmless when nothing is being looked up. */
void pg_hosts_cancel(struct pg_hosts *hosts);

/* The address whose turn it is. False when there is none to choose. */
MUST_USE bool pg_hosts_choose(const struct pg_hosts *hosts, struct pg_address *address);

/* The address whose turn it is was of no use: it is the next one's. False at the end of a round,
 * when each has been tried, or there is none. */
MUST_USE bool pg_hosts_next(struct pg_hosts *hosts);

#endif
