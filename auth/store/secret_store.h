/* The secrets of clients. client_store makes and ends them, with their client locked. */
#ifndef AUTH_STORE_SECRET_STORE_H
#define AUTH_STORE_SECRET_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/client/secret.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define SECRET_STORE_ID_SIZE 64

/* Views into the PGresult they were read from. */
struct secret_values {
    const char *secret_id;
    const char *created_at;
    const char *expires_at; /* NULL: never */
    bool is_live;
};

/* A client's secrets, newest first; none if there is no such client. NULL on failure. */
MUST_USE PGresult *secret_store_list(PGconn *connection, const char *client_id,
                                     struct store_failure *failure);
struct secret_values secret_store_values(const PGresult *secrets, size_t row);

#define SECRET_STORE_NEWEST 100000 /* of a client's tokens are searched for the last use */

enum secret_use {
    SECRET_USE_FOUND,
    SECRET_USE_NONE,         /* no token since it was made */
    SECRET_USE_OLDER,        /* not among the newest tokens, and there are more */
    SECRET_USE_NOT_RECORDED, /* none found, but some tokens do not tell their secret */
};

/* As secret_store_list, and each with its last use, from the ledger. */
MUST_USE PGresult *secret_store_list_used(PGconn *connection, const char *client_id,
                                          struct store_failure *failure);

/* Reads it; `day` (2026-11-29, UTC) is NULL unless it was found. */
enum secret_use secret_store_use(const PGresult *secrets, size_t row, const char **day);

/* All rows as a JSON array, which the caller owns; of secret_store_list_used, with the last use. */
json_t *secret_store_documents(const PGresult *secrets);
json_t *secret_store_documents_used(const PGresult *secrets);

/* Makes one. The caller wipes `secret`, also after a failure. */
MUST_USE bool secret_store_add(PGconn *connection, const char *client_id,
                               char secret[SECRET_LENGTH + 1], char secret_id[SECRET_STORE_ID_SIZE],
                               struct store_failure *failure);

/* Adds one that the caller has made. */
MUST_USE bool secret_store_add_digest(PGconn *connection, const char *client_id,
                                      const struct secret_digest *digest,
                                      char secret_id[SECRET_STORE_ID_SIZE],
                                      struct store_failure *failure);

/* Makes sure that there is this one, and that it is live; `is_new` tells whether it was not. Fails
 * when there would be too many. */
MUST_USE bool secret_store_keep(PGconn *connection, const char *client_id,
                                const struct secret_digest *digest, bool *is_new,
                                struct store_failure *failure);

/* The live ones of these clients (an array of ids): their ids, and the SHA-256 as hexadecimal
 * digits. NULL on failure. */
MUST_USE PGresult *secret_store_list_live(PGconn *connection, const json_t *client_ids,
                                          struct store_failure *failure);

/* Reads 64 hexadecimal digits. */
MUST_USE bool secret_store_read_sha256(const char *hex, struct secret_digest *digest,
                                       struct store_failure *failure);

/* Deletes expired ones, and the oldest if there would be too many with a new one; the others expire
 * after the overlap, or earlier. */
MUST_USE bool secret_store_end_old(PGconn *connection, const char *client_id, long long overlap_s,
                                   struct store_failure *failure);

/* Deletes one. */
MUST_USE bool secret_store_delete(PGconn *connection, const char *client_id, const char *secret_id,
                                  struct store_failure *failure);

#endif
