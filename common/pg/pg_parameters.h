/* Connection parameters for libpq: our defaults, which the URL may override, then the URL, then
 * what overrides it.
 */
#ifndef COMMON_PG_PG_PARAMETERS_H
#define COMMON_PG_PG_PARAMETERS_H

#include <stddef.h>

#define PG_PARAMETERS_MAX 16

/* For PQconnectdbParams and PQconnectStartParams, with expand_dbname. */
struct pg_parameters {
    const char *keywords[PG_PARAMETERS_MAX + 1], *values[PG_PARAMETERS_MAX + 1];
    size_t count;
};

/* Adds keep-alives, which drop a dead peer within half a minute, and the name that pg_stat_activity
 * shows. */
void pg_parameters_begin(struct pg_parameters *parameters, const char *application);

/* A default when added before the URL, an override after it. A NULL value has no effect. */
void pg_parameters_add(struct pg_parameters *parameters, const char *keyword, const char *value);

/* Adds the URL, and UTF-8 as the encoding of text. */
void pg_parameters_add_url(struct pg_parameters *parameters, const char *url);

#endif
