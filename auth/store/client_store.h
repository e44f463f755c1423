/* Clients and their secrets. */
#ifndef AUTH_STORE_CLIENT_STORE_H
#define AUTH_STORE_CLIENT_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/client/secret.h"
#include "auth/store/client_change.h"
#include "auth/store/client_document.h"
#include "auth/store/guard.h"
#include "auth/store/secret_store.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define CLIENT_STORE_OVERLAP_S     86400    /* default for a rotation */
#define CLIENT_STORE_OVERLAP_MAX_S 31536000 /* a year */

/* Which clients are listed; NULL: no matter. */
struct client_filter {
    const char *tier;
    const char *organization;
    const char *text;           /* somewhere in the id or the name, in any case */
    const char *scope;          /* one of its scopes */
    const char *labels;         /* a JSON object of labels that it has */
    const char *unused_since;   /* RFC 3339: no token was issued to it since, nor was it made */
    const char *expires_before; /* RFC 3339: its last live secret ends before */
    const bool *is_enabled;
    const char *after; /* an id: only those that follow it */
    bool by_id;        /* ordered by id; otherwise the newest come first */
    long long limit;   /* at most; 0: all */
};

/* Which secret a client gets; NULL instead: a new one is made. */
struct client_secret_given {
    const struct secret_digest *digest; /* of one that the caller has made; NULL: none at all */
};

/* A new secret, to be shown only once. client_store_forget wipes it, also after a failure. */
struct client_made {
    char secret[SECRET_LENGTH + 1];       /* empty: none was made here */
    char secret_id[SECRET_STORE_ID_SIZE]; /* empty: none */
    PGresult *client;                     /* one row */
    PGresult *old;                        /* the secrets it already had; NULL: a new client */
};

/* Validates without a connection. */
MUST_USE bool client_store_check_id(const char *client_id, struct store_failure *failure);

/* If `client_id` is NULL, one is made: 20 characters of [a-z0-9]. */
MUST_USE bool client_store_create(PGconn *connection, const struct guard *guard,
                                  const char *client_id, const struct client_change *change,
                                  const struct client_secret_given *given, struct client_made *made,
                                  struct store_failure *failure);

/* Lists clients. */
MUST_USE PGresult *client_store_list(PGconn *connection, const struct client_filter *filter,
                                     struct store_failure *failure);

/* These return the client's row (delete: as it last was); NULL on failure. */
MUST_USE PGresult *client_store_find(PGconn *connection, const char *client_id,
                                     struct store_failure *failure);
/* Those of these ids, an array of strings, that exist, in any order. */
MUST_USE PGresult *client_store_find_all(PGconn *connection, const json_t *client_ids,
                                         struct store_failure *failure);
MUST_USE PGresult *client_store_update(PGconn *connection, const struct guard *guard,
                                       const char *client_id, const struct client_change *change,
                                       struct store_failure *failure);
/* Makes the client without a secret if there is none of this id; sets `was_made`. */
MUST_USE PGresult *client_store_put(PGconn *connection, const struct guard *guard,
                                    const char *client_id, const json_t *document, bool *was_made,
                                    struct store_failure *failure);
/* Merges the patch into the client's document (RFC 7396). */
MUST_USE PGresult *client_store_patch(PGconn *connection, const struct guard *guard,
                                      const char *client_id, const json_t *patch,
                                      struct store_failure *failure);
MUST_USE PGresult *client_store_enable(PGconn *connection, const char *client_id, bool is_enabled,
                                       struct store_failure *failure);
/* Makes all tokens that it has been issued up to now inactive: sets tokens_valid_from to the next
 * millisecond of PostgreSQL's clock, and never back. */
MUST_USE PGresult *client_store_revoke_tokens(PGconn *connection, const struct guard *guard,
                                              const char *client_id, struct store_failure *failure);
MUST_USE PGresult *client_store_delete(PGconn *connection, const struct guard *guard,
                                       const char *client_id, struct store_failure *failure);

/* Reads a row of these results. */
struct client_values client_store_values(const PGresult *clients, size_t row);

/* Makes a new secret, or adds the one given; the others expire after the overlap, or earlier. If
 * four are live, the oldest is deleted at once. */
MUST_USE bool client_store_rotate(PGconn *connection, const struct guard *guard,
                                  const char *client_id, long long overlap_s,
                                  const struct client_secret_given *given, struct client_made *made,
                                  struct store_failure *failure);

/* Makes sure that the client has this secret, and that it does not end; `is_new` tells whether it
 * had not. Fails when it would have more than CLIENT_MAX_SECRETS live ones. */
MUST_USE bool client_store_keep_secret(PGconn *connection, const struct guard *guard,
                                       const char *client_id, const struct secret_digest *digest,
                                       bool *is_new, struct store_failure *failure);

/* Deletes one secret, and returns those that are left; NULL on failure. */
MUST_USE PGresult *client_store_revoke_secret(PGconn *connection, const struct guard *guard,
                                              const char *client_id, const char *secret_id,
                                              struct store_failure *failure);

/* Has every worker look the client up again (NULL: all clients), as soon as the transaction
 * ends. */
MUST_USE bool client_store_invalidate(PGconn *connection, const char *client_id,
                                      struct store_failure *failure);

/* Wipes the secret and frees the results; harmless on a zeroed one. */
void client_store_forget(struct client_made *made);

/* Whether an enabled client may govern: has the scope jotd:admin. */
MUST_USE bool client_store_has_administrator(PGconn *connection, bool *has,
                                             struct store_failure *failure);

/* The longest token_ttl of any client or tier, in seconds; 0: none has one. False on failure. */
MUST_USE bool client_store_longest_ttl(PGconn *connection, long long *ttl_s,
                                       struct store_failure *failure);

#endif
