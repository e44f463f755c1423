/* What stands inside a key file: PKCS #8 PEM for ES256 and RS256, 32 random bytes in a PEM block
 * of type `JOTD HS256 KEY` for HS256. Makes it, and checks it. */
#ifndef AUTH_TOKEN_KEY_MATERIAL_H
#define AUTH_TOKEN_KEY_MATERIAL_H

#include <openssl/types.h>
#include <stdbool.h>

#include "auth/token/key.h"
#include "common/attributes.h"
#include "common/failure.h"

/* A new key as PEM text, and its kid. The caller gives it to key_material_free. */
char *key_material_make(enum key_alg alg, char kid[KEY_KID_LENGTH + 1], struct failure *failure);

/* Fills material and jwk of `key`, whose kid and alg are set, from the text of its file. Fails,
 * and leaves `key` alone, when the text is not a key of that algorithm and kid. */
MUST_USE bool key_material_read(struct signing_key *key, const char *pem, struct failure *failure);

/* The key pair of an ES256 or RS256 key, which the caller frees; NULL when it cannot be read. */
EVP_PKEY *key_material_pair(const char *pem);

/* Wipes and frees. */
void key_material_free(char *material, size_t length);

#endif
