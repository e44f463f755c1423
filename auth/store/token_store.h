/* Issued tokens, as the ledger has them, and their revocation. */
#ifndef AUTH_STORE_TOKEN_STORE_H
#define AUTH_STORE_TOKEN_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/store/guard.h"
#include "auth/store/store.h"
#include "common/attributes.h"
#include "common/uuid.h"

/* Views into the PGresult they were read from; times in RFC 3339. NULL: none, or not recorded. One
 * that is revoked, and not in the ledger yet, has only a jti, what its revocation says, and perhaps
 * a client. */
struct token_values {
    const char *jti;
    const char *client_id;
    const char *organization;
    const char *credential;
    const char *tier;
    const char *scope;    /* separated by spaces */
    const char *audience; /* as `scope` */
    const char *kid;
    const char *issued_at, *expires_at;
    const char *revoked_at; /* NULL: not revoked */
    const char *reason;
    const char *revoked_by;       /* the actor; NULL: its client at /revoke, or not recorded */
    const char *inactive_because; /* in words; NULL: it is active, if its key is still published */
};

/* Fails unless the jti is a UUID of version 7, as all are, and not of the future. */
MUST_USE bool token_store_check(const struct uuid *jti, struct store_failure *failure);

/* What is on record; NULL on failure, also when nothing is. */
MUST_USE PGresult *token_store_find(PGconn *connection, const struct uuid *jti,
                                    struct store_failure *failure);
/* The recorded tokens of a client, newest first: at most `limit`, from after the jti `after` on
 * (NULL: from the newest). NULL on failure. */
MUST_USE PGresult *token_store_list(PGconn *connection, const char *client_id, const char *after,
                                    long long limit, struct store_failure *failure);
struct token_values token_store_values(const PGresult *tokens, size_t row);

/* All that is known of a token, as a JSON object that the caller owns. */
json_t *token_store_document(const struct token_values *token);

enum token_revoked {
    TOKEN_REVOKED,
    TOKEN_REVOKED_BEFORE,
    TOKEN_EXPIRED, /* there is nothing to revoke */
};

/* What became of it; views as above. */
struct token_revocation_values {
    enum token_revoked state;
    const char *jti;
    const char *client_id;  /* NULL: it is not in the ledger, or not yet */
    const char *expires_at; /* of the token; a day after its issue when that is unknown */
};

/* `reason` is at most 200 characters; NULL: none. Without a guard anything may be revoked; with
 * one, no token of a client that the caller may not touch. NULL on failure. */
MUST_USE PGresult *token_store_revoke(PGconn *connection, const struct guard *guard,
                                      const struct uuid *jti, const char *reason,
                                      struct store_failure *failure);
struct token_revocation_values token_store_revocation(const PGresult *revoked);

#endif
