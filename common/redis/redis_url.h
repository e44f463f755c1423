/* URLs of Redis:
 *
 *     redis://[user:password@]host[:port][/database]
 *     unix://[user:password@]/path[?db=database]
 *
 * User and password are percent-encoded; a password alone (`:password@`) belongs to the user
 * `default`. Pure.
 */
#ifndef COMMON_REDIS_REDIS_URL_H
#define COMMON_REDIS_REDIS_URL_H

#include <stdbool.h>

#include "common/attributes.h"

struct redis_url {
    char user[256]; /* empty: default */
    char password[512];
    char host[256]; /* a name or an address; empty: a local socket at `path` */
    char port[6];
    char path[108];
    char database[6]; /* its number */
};

/* False when it is malformed or too long. Wipe `url` after use. */
MUST_USE bool redis_url_parse(const char *text, struct redis_url *url);

#endif
