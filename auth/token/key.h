/* A signing key.
 *
 * ES256 and RS256 keys are PKCS #8 PEM; their kid is the RFC 7638 thumbprint. An HS256 key is 32
 * random bytes in a PEM block of type `JOTD HS256 KEY`; its kid is random, since a thumbprint would
 * be a hash of the secret.
 */
#ifndef AUTH_TOKEN_KEY_H
#define AUTH_TOKEN_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"

#define KEY_KID_LENGTH 43 /* base64url of 256 bits */

enum key_alg {
    KEY_ES256,
    KEY_RS256,
    KEY_HS256,
    KEY_ALG_COUNT,
};

struct signing_key {
    char kid[KEY_KID_LENGTH + 1];
    enum key_alg alg;
    int64_t activate_at; /* epoch seconds; may sign from then on */
    int64_t retire_at;   /* epoch seconds; no longer published from then on; 0: not set */
    char *material;      /* PEM text with a NUL (ES256, RS256) or 32 raw bytes (HS256) */
    size_t material_length;
    char *jwk; /* public members as a JSON object, RFC 7517; NULL for HS256 */
};

const char *key_alg_name(enum key_alg alg);
MUST_USE bool key_alg_parse(const char *name, enum key_alg *alg);

/* Wipes and frees the members, not the key itself. */
void key_dispose(struct signing_key *key);

#endif
