/* Clients and their secrets. */
#ifndef AUTH_STORE_CLIENT_STORE_H
#define AUTH_STORE_CLIENT_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/client/secret.h"
#include "auth/store/client_change.h"
#include "auth/store/secret_store.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define CLIENT_STORE_OVERLAP_S     86400    /* default for a rotation */
#define CLIENT_STORE_OVERLAP_MAX_S 31536000 /* a year */

/* Views into the PGresult they were read from. */
struct client_values {
    const char *client_id;
    const char *name;
    const char *tier;
    const char *scope;     /* separated by spaces; empty: none */
    const char *audiences; /* as `scope` */
    const char *token_ttl; /* seconds; NULL: none of its own */
    bool is_enabled;
    const char *created_at, *updated_at; /* RFC 3339, in UTC */
    const char *organization;            /* NULL: none */
    const char *introspect;              /* as `scope` */
    const char *labels, *claims;         /* JSON objects */
    const char *tokens_valid_from;       /* RFC 3339 with milliseconds; NULL: all are */
    const char *version;                 /* a number, raised by every change */
};

/* Which clients are listed. */
struct client_filter {
    const char *tier;         /* NULL: of all */
    const char *organization; /* NULL: of all and of none */
    long long limit;          /* at most; 0: all */
};

/* A new secret, to be shown only once. client_store_forget wipes it, also after a failure. */
struct client_made {
    char secret[SECRET_LENGTH + 1];
    char secret_id[SECRET_STORE_ID_SIZE];
    PGresult *client; /* one row */
    PGresult *old;    /* the secrets it already had; NULL: a new client */
};

/* Validates without a connection. */
MUST_USE bool client_store_check_id(const char *client_id, struct store_failure *failure);

/* If `client_id` is NULL, one is made: 20 characters of [a-z0-9]. */
MUST_USE bool client_store_create(PGconn *connection, const char *client_id,
                                  const struct client_change *change, struct client_made *made,
                                  struct store_failure *failure);

/* Lists clients, newest first. */
MUST_USE PGresult *client_store_list(PGconn *connection, const struct client_filter *filter,
                                     struct store_failure *failure);

/* These return the client's row (delete: as it last was); NULL on failure. */
MUST_USE PGresult *client_store_find(PGconn *connection, const char *client_id,
                                     struct store_failure *failure);
MUST_USE PGresult *client_store_update(PGconn *connection, const char *client_id,
                                       const struct client_change *change,
                                       struct store_failure *failure);
MUST_USE PGresult *client_store_enable(PGconn *connection, const char *client_id, bool is_enabled,
                                       struct store_failure *failure);
/* Makes all tokens that it has been issued up to now inactive: sets tokens_valid_from to the next
 * millisecond of PostgreSQL's clock, and never back. */
MUST_USE PGresult *client_store_revoke_tokens(PGconn *connection, const char *client_id,
                                              struct store_failure *failure);
MUST_USE PGresult *client_store_delete(PGconn *connection, const char *client_id,
                                       struct store_failure *failure);

/* Reads a row of these results. */
struct client_values client_store_values(const PGresult *clients, size_t row);

/* Makes a new secret; the others expire after the overlap, or earlier. If four are live, the oldest
 * is deleted at once. */
MUST_USE bool client_store_rotate(PGconn *connection, const char *client_id, long long overlap_s,
                                  struct client_made *made, struct store_failure *failure);

/* Deletes one secret, and returns those that are left; NULL on failure. */
MUST_USE PGresult *client_store_revoke_secret(PGconn *connection, const char *client_id,
                                              const char *secret_id, struct store_failure *failure);

/* Wipes the secret and frees the results; harmless on a zeroed one. */
void client_store_forget(struct client_made *made);

/* The longest token_ttl of any client or tier, in seconds; 0: none has one. False on failure. */
MUST_USE bool client_store_longest_ttl(PGconn *connection, long long *ttl_s,
                                       struct store_failure *failure);

#endif
