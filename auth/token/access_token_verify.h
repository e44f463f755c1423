/* Access tokens, from text to claims, in two steps: what is cheap to refuse, then the signature.
 *
 * A token is verified by its own server: it was signed by a key in the ring, names this issuer, and
 * has not expired (RFC 7519 7.2, RFC 8725 3, RFC 9068 4). Whether it was revoked, and whether its
 * client is enabled, is for the caller to ask.
 */
#ifndef AUTH_TOKEN_ACCESS_TOKEN_VERIFY_H
#define AUTH_TOKEN_ACCESS_TOKEN_VERIFY_H

#include <stdint.h>

#include "auth/client/secret.h"
#include "auth/token/keyring.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/lru.h"
#include "common/slice.h"
#include "common/uuid.h"

#define ACCESS_TOKEN_MAX 16384 /* bytes: no longer one fits into a request */

enum access_token_state {
    ACCESS_TOKEN_VALID,
    ACCESS_TOKEN_MALFORMED, /* not a token as this server makes them */
    ACCESS_TOKEN_UNKNOWN_KEY,
    ACCESS_TOKEN_OTHER_ISSUER,
    ACCESS_TOKEN_EXPIRED,
    ACCESS_TOKEN_BAD_SIGNATURE,
    ACCESS_TOKEN_UNDECIDED, /* the server is stopping */
};

/* The claims of a token. References are counted, by one thread. */
struct access_token {
    struct lru_entry entry;      /* as is `digest`, of verification.c */
    struct secret_digest digest; /* SHA-256 of the text */
    unsigned references;
    struct slice kid;
    struct uuid jti;    /* of version 7: holds the millisecond of issue */
    int64_t expires_at; /* epoch seconds */
    struct slice client_id;
    struct slice audiences; /* separated by spaces */
    struct slice scope;     /* its tokens, separated by spaces; empty: none */
    struct slice active;    /* the whole answer for it, when active: RFC 7662 2.2 */
    char text[];            /* of the slices */
};

/* Makes the claims of a token whose signature is yet to be verified, and checks them at `now`
 * (epoch seconds). `scratch` is for working in. Sets `token` only when ACCESS_TOKEN_VALID; the
 * caller owns its one reference. */
MUST_USE enum access_token_state
access_token_verify_claims(struct slice text, const struct keyring_view *keys, const char *issuer,
                           int64_t now, struct buffer *scratch, struct access_token **token);

/* Whether the signature of `text`, whose claims are `token`, is right. */
MUST_USE bool access_token_verify_signature(struct slice text, const struct access_token *token,
                                            struct keyring_view *keys, int64_t now,
                                            struct buffer *scratch);

void access_token_verify_keep(struct access_token *token);
void access_token_verify_release(struct access_token *token);

#endif
