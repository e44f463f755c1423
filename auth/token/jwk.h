/* The public half of a signing key as a JSON Web Key (RFC 7517), and its thumbprint (RFC 7638). */
#ifndef AUTH_TOKEN_JWK_H
#define AUTH_TOKEN_JWK_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/token/key.h"
#include "common/attributes.h"

/* The public members of an ES256 (P-256) or RS256 key as compact JSON in the order kty, use, alg,
 * kid, key; malloc'd. Sets `kid` to the thumbprint. NULL when OpenSSL or memory fails. */
char *jwk_public(EVP_PKEY *pkey, enum key_alg alg, char kid[KEY_KID_LENGTH + 1]);

/* RFC 7638: base64url(SHA-256(canonical JSON of the public key)). `jwk` is the JSON text of an EC
 * or RSA key; members outside the public key are ignored. False for anything else: the thumbprint
 * of a symmetric key would be a hash of the secret. */
MUST_USE bool jwk_thumbprint(const char *jwk, char thumbprint[KEY_KID_LENGTH + 1]);

#endif
