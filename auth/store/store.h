/* What PostgreSQL holds, as operations on values: nothing here prints, and nothing else has rules.
 *
 * An operation takes a blocking connection and values, runs in one transaction, and gives values or
 * a failure of one kind. What was begun and not committed ends with the connection.
 */
#ifndef AUTH_STORE_STORE_H
#define AUTH_STORE_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"

enum store_kind {
    STORE_INVALID,     /* a value has not the form that is allowed */
    STORE_NOT_FOUND,   /* what is to be changed, or what a value names */
    STORE_CONFLICT,    /* it is there already, or in use */
    STORE_UNAVAILABLE, /* PostgreSQL cannot be asked, or refuses */
};

struct store_failure {
    enum store_kind kind;
    const char *pointer; /* RFC 6901: the value that is at fault; empty: the whole */
    struct failure why;  /* in words; no secret in it */
};

/* Fills `failure` and returns false. */
bool store_fail(struct store_failure *failure, enum store_kind kind, const char *pointer,
                const char *format, ...) PRINTF_LIKE(4, 5);

/* Connects. With `check_schema`, refuses a schema that this program does not know. `application` is
 * shown in pg_stat_activity. NULL on failure. */
MUST_USE PGconn *store_connect(const char *url, const char *application, bool check_schema,
                               struct failure *failure);

/* For the files of this folder. */

/* An SQL expression for a timestamptz as RFC 3339 text in UTC. */
#define STORE_TIME(column)                                                                         \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* `result`, or NULL after clearing it when it is an error's. */
MUST_USE PGresult *store_check(PGconn *connection, PGresult *result, struct store_failure *failure);

/* One statement with text parameters (NULL is NULL). NULL on failure; the caller clears. */
MUST_USE PGresult *store_query(PGconn *connection, const char *sql, int count,
                               const char *const *values, struct store_failure *failure);

/* Statements without parameters and without a result that matters. */
MUST_USE bool store_execute(PGconn *connection, const char *sql, struct store_failure *failure);

/* A field of a result; NULL for NULL. */
const char *store_text(const PGresult *result, int row, int column);

#endif
