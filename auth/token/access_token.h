/* RFC 9068 access tokens: claims to `header.payload.signature`. */
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
    struct slice scope;    /* of length 0: no such claim; needs no escaping in JSON */
    int64_t issued_at;     /* epoch seconds */
    int64_t expires_at;    /* epoch seconds */
    struct uuid jti;
};

/* Signs with one key at a time; belongs to one thread. Zero it to start. */
struct access_token_signer {
    struct signer signer;
    char kid[KEY_KID_LENGTH + 1];
    enum key_alg alg;
    int64_t retire_at;     /* the key's, 0: none */
    struct buffer header;  /* base64url of the JOSE header and its dot: the same for every token */
    struct buffer payload; /* kept from token to token */
};

/* Takes up a key; false when it cannot be used, and then no key is held. */
MUST_USE bool access_token_signer_set(struct access_token_signer *signer,
                                      const struct signing_key *key);
void access_token_signer_dispose(struct access_token_signer *signer);

static inline bool access_token_signer_is_set(const struct access_token_signer *signer)
{
    return signer_is_open(&signer->signer);
}

/* Appends the token to `token`, with a NUL that its size does not count. False when the signature
 * failed; then nothing was appended. */
MUST_USE bool access_token_sign(struct access_token_signer *signer,
                                const struct access_token_claims *claims, struct buffer *token);

#endif
