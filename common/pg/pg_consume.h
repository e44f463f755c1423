/* Reads what has arrived on a connection, also of one that goes through TLS. */
#ifndef COMMON_PG_PG_CONSUME_H
#define COMMON_PG_PG_CONSUME_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/attributes.h"

/* PQconsumeInput, until nothing is left. False when the connection is lost. */
MUST_USE bool pg_consume(PGconn *connection);

#endif
