/* How libpq is told to connect: our defaults, which the URL may set otherwise, then the URL, then
 * what it may not.
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

/* Keep-alives, by which a dead peer is given up within half a minute, and the name that
 * pg_stat_activity shows. */
void pg_parameters_begin(struct pg_parameters *parameters, const char *application);

/* Before the URL, a default; after it, what counts. A NULL value says nothing. */
void pg_parameters_add(struct pg_parameters *parameters, const char *keyword, const char *value);

/* The URL, and that text is UTF-8. */
void pg_parameters_add_url(struct pg_parameters *parameters, const char *url);

#endif
