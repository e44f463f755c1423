/* Signs with one key (RFC 7518 3), keeping the parsed key, its context and the SHA-256 context.
 * Parsing the PEM text again would cost as much as fifty ES256 signatures, creating the contexts
 * again a tenth of one.
 */
#ifndef AUTH_TOKEN_SIGNER_H
#define AUTH_TOKEN_SIGNER_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/token/key.h"
#include "common/attributes.h"

#define SIGNATURE_MAX 1024 /* bytes: RSA keys up to 8192 bits */

/* Used by one thread. Initialize to zero. */
struct signer {
    EVP_MAC_CTX *mac;   /* HS256 */
    EVP_PKEY_CTX *pair; /* ES256, RS256 */
    EVP_MD_CTX *digest; /* ES256, RS256 */
    bool ecdsa;         /* ES256 */
};

/* False when the key cannot be used; the signer is then closed. */
MUST_USE bool signer_open(struct signer *signer, const struct signing_key *key);

/* A no-op when already closed. */
void signer_close(struct signer *signer);

static inline bool signer_is_open(const struct signer *signer)
{
    return signer->mac != NULL || signer->pair != NULL;
}

/* Writes the raw signature of `text`; for ES256, r and s (RFC 7518 3.4). */
MUST_USE bool signer_sign(struct signer *signer, const char *text, size_t text_length,
                          unsigned char signature[SIGNATURE_MAX], size_t *length);

#endif
