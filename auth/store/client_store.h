/* Clients and their secrets. */
#ifndef AUTH_STORE_CLIENT_STORE_H
#define AUTH_STORE_CLIENT_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/client/client.h"
#include "auth/client/secret.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define CLIENT_STORE_NAME_MAX      200      /* characters */
#define CLIENT_STORE_OVERLAP_S     86400    /* of a rotation, unless another is given */
#define CLIENT_STORE_OVERLAP_MAX_S 31536000 /* a year */

/* Views into what they were read from. */
struct client_values {
    const char *client_id;
    const char *name;
    const char *tier;
    const char *scope;     /* separated by spaces; empty: none */
    const char *audiences; /* likewise */
    const char *token_ttl; /* seconds; NULL: the server's default */
    bool is_enabled;
    const char *created_at, *updated_at; /* RFC 3339, in UTC */
};

struct secret_values {
    const char *secret_id;
    const char *created_at;
    const char *expires_at; /* NULL: never */
    bool is_live;
};

/* What is to be; NULL for what is not given: it stays as it is, or has its default. */
struct client_change {
    const char *name;
    const char *tier;
    const char *scope;
    const char *const *audiences; /* so many; an empty one adds nothing */
    size_t audience_count;
    const long long *token_ttl_s; /* 0: the server's default */
};

/* A secret that was made, and is shown this once. Wiped by client_store_forget. */
struct client_made {
    char secret[SECRET_LENGTH + 1];
    char secret_id[64];
    PGresult *client; /* one row */
    PGresult *old;    /* the secrets that the client had; NULL: it is new */
};

/* Whether the values have the form that is allowed; needs no connection. The operations below ask
 * this by themselves. */
MUST_USE bool client_store_check_id(const char *client_id, struct store_failure *failure);
MUST_USE bool client_store_check(const struct client_change *change, struct store_failure *failure);

/* `client_id` is NULL where one is to be made: 20 characters of [a-z0-9]. */
MUST_USE bool client_store_create(PGconn *connection, const char *client_id,
                                  const struct client_change *change, struct client_made *made,
                                  struct store_failure *failure);

/* The clients, newest first: of a tier, or of all (NULL); at most so many, 0: all. */
MUST_USE PGresult *client_store_list(PGconn *connection, const char *tier, long long limit,
                                     struct store_failure *failure);

/* These give the client's row, of which delete's is the last; NULL on failure. */
MUST_USE PGresult *client_store_find(PGconn *connection, const char *client_id,
                                     struct store_failure *failure);
MUST_USE PGresult *client_store_update(PGconn *connection, const char *client_id,
                                       const struct client_change *change,
                                       struct store_failure *failure);
MUST_USE PGresult *client_store_enable(PGconn *connection, const char *client_id, bool is_enabled,
                                       struct store_failure *failure);
MUST_USE PGresult *client_store_delete(PGconn *connection, const char *client_id,
                                       struct store_failure *failure);

/* The values of a row of these results. */
struct client_values client_store_values(const PGresult *clients, size_t row);

/* The secrets of a client, newest first; none for one that is not there. */
MUST_USE PGresult *client_store_secrets(PGconn *connection, const char *client_id,
                                        struct store_failure *failure);
struct secret_values client_store_secret(const PGresult *secrets, size_t row);

/* A new secret; the others end after the overlap, at the latest. Of four that live the oldest ends
 * at once. */
MUST_USE bool client_store_rotate(PGconn *connection, const char *client_id, long long overlap_s,
                                  struct client_made *made, struct store_failure *failure);

/* Ends one secret, and gives those that are left; NULL on failure. */
MUST_USE PGresult *client_store_revoke_secret(PGconn *connection, const char *client_id,
                                              const char *secret_id, struct store_failure *failure);

/* Wipes the secret; harmless on a zeroed one. */
void client_store_forget(struct client_made *made);

/* The longest token_ttl that a client has, in seconds; 0: none has one. False on failure. */
MUST_USE bool client_store_longest_ttl(PGconn *connection, long long *ttl_s,
                                       struct store_failure *failure);

#endif
