/* The audit log: every change of clients, secrets, tiers and organizations, as triggers have
 * written it. */
#ifndef AUTH_STORE_AUDIT_STORE_H
#define AUTH_STORE_AUDIT_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

#define AUDIT_STORE_LIMIT_MAX       1000000000
#define AUDIT_STORE_KEEP_MONTHS_MAX 1200

/* What to list; NULL: all. Times are RFC 3339, with a zone. */
struct audit_filter {
    const char *object; /* one of client, secret, tier, organization */
    const char *object_id;
    const char *actor;
    const char *session_user;
    const char *action;        /* one of create, update, delete, truncate */
    const char *since, *until; /* from then on; before then */
    const char *after;         /* the audit_id of the last row of the page before */
    long long limit;           /* 1 to AUDIT_STORE_LIMIT_MAX; 0: no limit */
};

/* Views into the PGresult they were read from. */
struct audit_values {
    const char *audit_id;
    const char *at; /* RFC 3339, to the millisecond */
    const char *session_user;
    const char *actor; /* empty: not said, or not believed */
    const char *request_id;
    const char *object;
    const char *object_id; /* of a secret: CLIENT_ID/SECRET_ID; `*`: all were truncated */
    const char *action;
    const char *before, *after; /* the row as a JSON object, without digests; NULL: none */
};

MUST_USE bool audit_store_check(const struct audit_filter *filter, struct store_failure *failure);

/* Newest first. NULL on failure. */
MUST_USE PGresult *audit_store_list(PGconn *connection, const struct audit_filter *filter,
                                    struct store_failure *failure);
struct audit_values audit_store_values(const PGresult *rows, size_t row);

/* A row for the API; NULL when out of memory. */
json_t *audit_store_document(const struct audit_values *row);

/* Removes rows older than this month and the `keep_months` before it (1 to
 * AUDIT_STORE_KEEP_MONTHS_MAX), in steps of a transaction each. Counts them, in a dry run too. Call
 * it outside of a transaction. */
MUST_USE bool audit_store_prune(PGconn *connection, long long keep_months, bool is_dry_run,
                                long long *rows, struct store_failure *failure);

#endif
