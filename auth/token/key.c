#include "auth/token/key.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static const char *const alg_names[KEY_ALG_COUNT] = {
    [KEY_ES256] = "ES256",
    [KEY_RS256] = "RS256",
    [KEY_HS256] = "HS256",
};

const char *key_alg_name(enum key_alg alg)
{
    return alg_names[alg];
}

bool key_alg_parse(const char *name, enum key_alg *alg)
{
    for (int i = 0; i < KEY_ALG_COUNT; ++i) {
        if (strcmp(name, alg_names[i]) == 0) {
            *alg = (enum key_alg)i;
            return true;
        }
    }
    return false;
}

void key_dispose(struct signing_key *key)
{
    OPENSSL_secure_clear_free(key->material, key->material_length);
    free(key->jwk);
}
