/* Comma-separated lists of web origins; `*` means all. Pure. */
#ifndef COMMON_HTTP_ORIGIN_H
#define COMMON_HTTP_ORIGIN_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

/* Whether each is `*` or an origin as browsers write it (RFC 6454 6.2): http or https, host and
 * port, in lower case, without a path. */
MUST_USE bool origin_list_is_valid(const char *list);

/* The entry that matches `origin`, which may be any bytes; empty when none does. */
struct slice origin_list_find(const char *list, struct slice origin);

#endif
