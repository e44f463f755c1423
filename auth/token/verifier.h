/* Verifies signatures with one key (RFC 7518 3), keeping what is costly to make, as a signer does.
 */
#ifndef AUTH_TOKEN_VERIFIER_H
#define AUTH_TOKEN_VERIFIER_H

#include <openssl/types.h>
#include <stdbool.h>

#include "auth/token/key.h"
#include "auth/token/signer.h"
#include "common/attributes.h"
#include "common/slice.h"

/* Used by one thread. Initialize to zero. */
struct verifier {
    enum key_alg alg;
    struct signer signer; /* HS256: who signs can verify */
    EVP_PKEY_CTX *pair;   /* ES256, RS256 */
    EVP_MD *sha256;
};

/* False when the key cannot be used; the verifier is then closed. */
MUST_USE bool verifier_open(struct verifier *verifier, const struct signing_key *key);

/* Harmless when already closed. */
void verifier_close(struct verifier *verifier);

/* Whether the raw signature (for ES256, r and s) is the key's for `text`. */
MUST_USE bool verifier_verify(struct verifier *verifier, struct slice text, struct slice signature);

#endif
