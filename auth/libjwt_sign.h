/* libjwt's signature, with the key parsed once.
 *
 * libjwt 1.10 reads the PEM text again at every signature, which with OpenSSL 3.0 costs 1,000 us
 * where an ES256 signature costs 36. libjwt_sign.c therefore defines the one OpenSSL function that
 * libjwt reads keys with; the linker prefers the program's definition to the library's, as it does
 * for a replaced malloc. Where it should not be picked up, signatures are the same and only slower.
 */
#ifndef AUTH_LIBJWT_SIGN_H
#define AUTH_LIBJWT_SIGN_H

#include <jwt.h>
#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/keys.h"
#include "common/attributes.h"

#define LIBJWT_SIGNATURE_MAX 1024 /* bytes: RSA keys up to 8192 bits */

/* One key, ready to sign. Belongs to one thread: threads that share a parsed key contend for its
 * reference count. */
struct libjwt_signer {
    jwt_t *jwt;    /* NULL: closed */
    EVP_PKEY *key; /* NULL for HS256 */
    bool hmac;
};

/* False when the key cannot be used. */
MUST_USE bool libjwt_signer_open(struct libjwt_signer *signer, const struct signing_key *key);

/* Harmless when it is closed already. */
void libjwt_signer_close(struct libjwt_signer *signer);

/* Signs the NUL-terminated `text`; writes the raw signature (JWS form: r and s for ES256). */
MUST_USE bool libjwt_sign(const struct libjwt_signer *signer, const char *text,
                          unsigned char signature[LIBJWT_SIGNATURE_MAX], size_t *length);

/* How often this thread handed out a parsed key. */
uint64_t libjwt_parsed_key_uses(void);

#endif
