/* Paths of routes, with parts that match any text: `/clients/{id}/secrets` has one. Pure. */
#ifndef COMMON_HTTP_ROUTE_PATH_H
#define COMMON_HTTP_ROUTE_PATH_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

#define ROUTE_PATH_PARTS_MAX 2

/* Whether `path`, which may be any bytes, matches `pattern`. `parts` receives the text for each
 * {name}: never empty, and without a slash. */
MUST_USE bool route_path_matches(const char *pattern, struct slice path,
                                 struct slice parts[ROUTE_PATH_PARTS_MAX]);

#endif
