/* Creates and checks the content of key files: PKCS #8 PEM for ES256 and RS256, 32 random bytes in
 * a PEM block of type `JOTD HS256 KEY` for HS256. */
#ifndef AUTH_TOKEN_KEY_MATERIAL_H
#define AUTH_TOKEN_KEY_MATERIAL_H

#include <openssl/types.h>
#include <stdbool.h>

#include "auth/token/key.h"
#include "common/attributes.h"
#include "common/failure.h"

/* A new key as PEM text, and its kid; NULL on failure. Free it with key_material_free. */
char *key_material_make(enum key_alg alg, char kid[KEY_KID_LENGTH + 1], struct failure *failure);

/* Fills `material` and `jwk` of `key`, whose kid and alg are set, from the text of its file. Fails
 * and leaves `key` unchanged when the text is not a key of that algorithm and kid. */
MUST_USE bool key_material_read(struct signing_key *key, const char *pem, struct failure *failure);

/* Parses an ES256 or RS256 key pair; the caller frees it. NULL when it cannot be read. */
EVP_PKEY *key_material_pair(const char *pem);

/* Wipes and frees. */
void key_material_free(char *material, size_t length);

#endif
