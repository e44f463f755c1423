/* Operations on what PostgreSQL holds. Nothing here prints, and nothing elsewhere has rules for it.
 *
 * An operation takes a blocking connection and values, and returns values or a failure of one kind.
 * Its changes are one transaction, or a part of the one that the caller has begun. After a failure
 * that transaction may still be open: the caller rolls it back, or ends the connection.
 */
#ifndef AUTH_STORE_STORE_H
#define AUTH_STORE_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"

enum store_kind {
    STORE_INVALID,     /* a value breaks a rule */
    STORE_NOT_FOUND,   /* the object, or one that a value names */
    STORE_CONFLICT,    /* it already exists, or is in use */
    STORE_CHANGED,     /* it is not of the version that the caller has seen */
    STORE_UNSEEN,      /* the caller must say which version it has seen */
    STORE_FORBIDDEN,   /* the caller may not do this */
    STORE_UNAVAILABLE, /* PostgreSQL cannot be reached, or refuses */
};

#define STORE_POINTER_SIZE 160

struct store_failure {
    enum store_kind kind;
    char pointer[STORE_POINTER_SIZE]; /* RFC 6901: the value at fault; empty: the whole */
    struct failure why;               /* in words; never a secret */
};

/* On whose behalf changes are made, for the audit log. */
struct store_actor {
    const char *name;
    const char *request_id;
};

/* Fills `failure` and returns false. */
bool store_fail(struct store_failure *failure, enum store_kind kind, const char *pointer,
                const char *format, ...) PRINTF_LIKE(4, 5);

/* Sets the pointer to a member of a value: `/parent/name`, escaped (RFC 6901 3). An empty parent is
 * the whole. */
void store_point_to(struct store_failure *failure, const char *parent, const char *name);

/* Connects. With `check_schema`, refuses an incompatible schema. `application` appears in
 * pg_stat_activity. NULL on failure. */
MUST_USE PGconn *store_connect(const char *url, const char *application, bool check_schema,
                               struct failure *failure);

/* Begin and end a transaction of several operations; in the audit log, its changes are the
 * actor's. */
MUST_USE bool store_begin(PGconn *connection, const struct store_actor *actor,
                          struct store_failure *failure);
MUST_USE bool store_commit(PGconn *connection, struct store_failure *failure);
/* Begins one that reads what is there now, however long it takes. */
MUST_USE bool store_begin_reading(PGconn *connection, struct store_failure *failure);
void store_roll_back(PGconn *connection);

/* For the files of this folder only. */

/* Begin and end an operation's own transaction. They do nothing if the caller has begun one: then
 * `*own` is set to false. */
MUST_USE bool store_begin_own(PGconn *connection, bool *own, struct store_failure *failure);
MUST_USE bool store_commit_own(PGconn *connection, bool own, struct store_failure *failure);

/* An SQL expression for a timestamptz as RFC 3339 text in UTC. */
#define STORE_TIME(column)                                                                         \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
#define STORE_TIME_MS(column)                                                                      \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"

/* Returns `result`; if it is an error, clears it, sets `failure` and returns NULL. */
MUST_USE PGresult *store_check(PGconn *connection, PGresult *result, struct store_failure *failure);

/* Runs one statement with text parameters (NULL is NULL). NULL on failure; the caller clears. */
MUST_USE PGresult *store_query(PGconn *connection, const char *sql, int count,
                               const char *const *values, struct store_failure *failure);

/* Runs statements without parameters, and discards their results. */
MUST_USE bool store_execute(PGconn *connection, const char *sql, struct store_failure *failure);

/* Whether a text for people has so many characters, in UTF-8, and none that control a terminal. */
MUST_USE bool store_check_text(const char *text, size_t least, size_t most);

/* A field of a result; NULL for NULL. */
const char *store_text(const PGresult *result, int row, int column);

#endif
