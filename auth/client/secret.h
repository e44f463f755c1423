/* Client secrets: `jot_`, 43 characters of [A-Za-z0-9] (256 random bits) and a 6-character
 * checksum. The checksum is the CRC-32 of the 47 characters before it in base 62 (digits 0-9A-Za-z,
 * padded with 0): secret scanners can recognize a secret by it, and a typo is refused without a
 * look-up. Only the SHA-256 of the whole text is stored: 256 random bits need no slow hash. Pure.
 */
#ifndef AUTH_CLIENT_SECRET_H
#define AUTH_CLIENT_SECRET_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

#define SECRET_LENGTH        53
#define SECRET_DIGEST_LENGTH 32

struct secret_digest {
    unsigned char bytes[SECRET_DIGEST_LENGTH];
};

/* Writes a new secret and a NUL. False when the system provides no randomness. The caller wipes it
 * with OPENSSL_cleanse. */
MUST_USE bool secret_make(char text[SECRET_LENGTH + 1]);

/* Whether `text` has the form and checksum of a secret. */
MUST_USE bool secret_is_well_formed(struct slice text);

/* Whether `text` may contain a secret or a token and so must not be logged. */
MUST_USE bool secret_is_suspected(struct slice text);

/* SHA-256; aborts when OpenSSL fails. */
void secret_digest(struct slice text, struct secret_digest *digest);

/* Constant-time. */
MUST_USE bool secret_digest_equal(const struct secret_digest *a, const struct secret_digest *b);

#endif
