/* libjwt's signature with the key parsed once: see libjwt_sign.h. */
#include "auth/libjwt_sign.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

/* Exported by libjwt 1.10, but not in its header. CMake checks that they are there. */
int jwt_sign_sha_pem(jwt_t *jwt, char **out, unsigned int *length, const char *text);
int jwt_sign_sha_hmac(jwt_t *jwt, char **out, unsigned int *length, const char *text);

/* Set around a signature: the key that libjwt is about to read. */
static _Thread_local EVP_PKEY *parsed_key;
static _Thread_local uint64_t parsed_key_uses;

/* Takes the place of OpenSSL's for the whole program; must do what that does for everyone else. */
__attribute__((visibility("default"))) EVP_PKEY *
PEM_read_bio_PrivateKey(BIO *bio, EVP_PKEY **key, pem_password_cb *password, void *data)
{
    if (parsed_key != NULL) {
        ++parsed_key_uses;
        EVP_PKEY_up_ref(parsed_key);
        return parsed_key;
    }
    return PEM_read_bio_PrivateKey_ex(bio, key, password, data, NULL, NULL);
}

uint64_t libjwt_parsed_key_uses(void)
{
    return parsed_key_uses;
}

static EVP_PKEY *parse(const struct signing_key *key)
{
    BIO *bio = BIO_new_mem_buf(key->material, (int)key->material_length);
    EVP_PKEY *parsed = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;

    BIO_free(bio);
    return parsed;
}

bool libjwt_signer_open(struct libjwt_signer *signer, const struct signing_key *key)
{
    static const jwt_alg_t algs[KEY_ALG_COUNT] = {
        [KEY_ES256] = JWT_ALG_ES256,
        [KEY_RS256] = JWT_ALG_RS256,
        [KEY_HS256] = JWT_ALG_HS256,
    };

    *signer = (struct libjwt_signer){.hmac = key->alg == KEY_HS256};
    if (!signer->hmac && (signer->key = parse(key)) == NULL)
        return false;
    if (jwt_new(&signer->jwt) != 0 ||
        jwt_set_alg(signer->jwt, algs[key->alg], (const unsigned char *)key->material,
                    (int)key->material_length) != 0) {
        libjwt_signer_close(signer);
        return false;
    }
    return true;
}

void libjwt_signer_close(struct libjwt_signer *signer)
{
    jwt_free(signer->jwt);
    EVP_PKEY_free(signer->key);
    *signer = (struct libjwt_signer){0};
}

bool libjwt_sign(const struct libjwt_signer *signer, const char *text,
                 unsigned char signature[LIBJWT_SIGNATURE_MAX], size_t *length)
{
    char *out = NULL;
    unsigned int out_length = 0;
    int error;

    if (signer->hmac) {
        error = jwt_sign_sha_hmac(signer->jwt, &out, &out_length, text);
    } else {
        parsed_key = signer->key;
        error = jwt_sign_sha_pem(signer->jwt, &out, &out_length, text);
        parsed_key = NULL;
    }
    if (error == 0 && out_length != 0 && out_length <= LIBJWT_SIGNATURE_MAX) {
        memcpy(signature, out, out_length);
        *length = out_length;
    } else {
        error = 1;
    }
    free(out);
    return error == 0;
}
