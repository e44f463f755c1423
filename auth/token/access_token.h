/* RFC 9068 access tokens: turns claims into `header.payload.signature`. */
#ifndef AUTH_TOKEN_ACCESS_TOKEN_H
#define AUTH_TOKEN_ACCESS_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/token/key.h"
#include "auth/token/signer.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/slice.h"
#include "common/uuid.h"

struct access_token_claims {
    struct slice issuer;
    struct slice client_id; /* sub and client_id; needs no escaping in JSON */
    const struct slice *audiences;
    size_t audience_count; /* at least 1 */
    struct slice scope;    /* empty: claim omitted; needs no escaping in JSON */
    struct slice others;   /* static claims: members of a JSON object, without the braces */
    int64_t issued_at;     /* epoch seconds */
    int64_t expires_at;    /* epoch seconds */
    struct uuid jti;
};

/* Signs with one key at a time. Used by one thread. Initialize to zero. */
struct access_token_signer {
    struct signer signer;
    char kid[KEY_KID_LENGTH + 1];
    enum key_alg alg;
    int64_t retire_at;     /* of the key, epoch seconds; 0: none */
    struct buffer header;  /* base64url of the JOSE header, and the dot */
    struct buffer payload; /* reused across tokens */
};

/* Switches to a key. False when it cannot be used; then no key is set. */
MUST_USE bool access_token_signer_set(struct access_token_signer *signer,
                                      const struct signing_key *key);
void access_token_signer_dispose(struct access_token_signer *signer);

static inline bool access_token_signer_is_set(const struct access_token_signer *signer)
{
    return signer_is_open(&signer->signer);
}

/* Appends the token and a NUL not counted in the size. False when signing failed; then nothing is
 * appended. */
MUST_USE bool access_token_sign(struct access_token_signer *signer,
                                const struct access_token_claims *claims, struct buffer *token);

#endif
