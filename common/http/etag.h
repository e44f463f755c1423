/* Entity tags: they name the current version of a resource (RFC 9110 8.8.3). */
#ifndef COMMON_HTTP_ETAG_H
#define COMMON_HTTP_ETAG_H

#include <stdbool.h>

#include "common/slice.h"

#define ETAG_SIZE 24 /* with its quotes and NUL */

/* The tag of these bytes. */
void etag_make(struct slice body, char etag[static ETAG_SIZE]);

/* Whether the value of If-None-Match names this tag, weakly compared (13.1.2), or is *. */
bool etag_is_listed(struct slice if_none_match, const char *etag);

#endif
