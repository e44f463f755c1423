/* Issued tokens, as the ledger has them, and their revocation. */
#ifndef AUTH_STORE_TOKEN_STORE_H
#define AUTH_STORE_TOKEN_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/store/store.h"
#include "common/attributes.h"
#include "common/uuid.h"

/* Views into the PGresult they were read from; times in RFC 3339. */
struct token_values {
    const char *jti;
    const char *client_id;
    const char *organization; /* empty: none */
    const char *credential;   /* empty: not recorded */
    const char *tier;
    const char *scope;    /* separated by spaces; empty: none */
    const char *audience; /* as `scope` */
    const char *kid;
    const char *issued_at, *expires_at;
    const char *revoked_at; /* NULL: not revoked */
    const char *reason;     /* NULL: not revoked */
};

/* Fails unless the jti is a UUID of version 7, as all are, and not of the future. */
MUST_USE bool token_store_check(const struct uuid *jti, struct store_failure *failure);

/* A row of the ledger; NULL on failure, also when it has none. */
MUST_USE PGresult *token_store_find(PGconn *connection, const struct uuid *jti,
                                    struct store_failure *failure);
struct token_values token_store_values(const PGresult *tokens);

enum token_revoked {
    TOKEN_REVOKED,
    TOKEN_REVOKED_BEFORE,
    TOKEN_EXPIRED, /* there is nothing to revoke */
};

/* What became of it; views as above. */
struct token_revocation_values {
    enum token_revoked state;
    const char *jti;
    const char *client_id;  /* empty: not in the ledger yet */
    const char *expires_at; /* of the token; a day after its issue when that is unknown */
};

/* `reason` is at most 200 characters; NULL: none. NULL on failure. */
MUST_USE PGresult *token_store_revoke(PGconn *connection, const struct uuid *jti,
                                      const char *reason, struct store_failure *failure);
struct token_revocation_values token_store_revocation(const PGresult *revoked);

#endif
