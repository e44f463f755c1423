/* Signatures by one key, RFC 7518 3, with all that OpenSSL can have at hand: the key parsed, its
 * context and that of SHA-256 made. To parse the key's PEM text again costs fifty ES256 signatures,
 * to make the contexts again a tenth of one.
 */
#ifndef AUTH_TOKEN_SIGNER_H
#define AUTH_TOKEN_SIGNER_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/token/key.h"
#include "common/attributes.h"

#define SIGNATURE_MAX 1024 /* bytes: RSA keys up to 8192 bits */

/* Belongs to one thread. Zero it to start. */
struct signer {
    EVP_MAC_CTX *mac;   /* HS256 */
    EVP_PKEY_CTX *pair; /* ES256, RS256 */
    EVP_MD_CTX *digest; /* likewise */
    bool ecdsa;         /* ES256 */
};

/* False when the key cannot be used; then it is closed. */
MUST_USE bool signer_open(struct signer *signer, const struct signing_key *key);

/* Harmless when it is closed already. */
void signer_close(struct signer *signer);

static inline bool signer_is_open(const struct signer *signer)
{
    return signer->mac != NULL || signer->pair != NULL;
}

/* Writes the raw signature of `text` (for ES256 r and s, RFC 7518 3.4). */
MUST_USE bool signer_sign(struct signer *signer, const char *text, size_t text_length,
                          unsigned char signature[SIGNATURE_MAX], size_t *length);

#endif
