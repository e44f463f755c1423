#include "auth/token/key_proof.h"

#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "auth/token/key_material.h"
#include "auth/token/signer.h"
#include "common/base64.h"
#include "common/buffer.h"

/* typ is JWT because libjwt 1.10 rejects any other. */
static bool sign(const struct signing_key *key, struct buffer *token)
{
    static const char payload[] = "{\"sub\":\"proof\"}";
    unsigned char signature[SIGNATURE_MAX];
    struct signer signer;
    char header[64];
    size_t length;
    bool signed_;

    length = (size_t)snprintf(header, sizeof(header), "{\"alg\":\"%s\",\"typ\":\"JWT\"}",
                              key_alg_name(key->alg));
    base64_url_append(token, header, length);
    buffer_append(token, ".", 1);
    base64_url_append(token, payload, strlen(payload));
    if (!signer_open(&signer, key))
        return false;
    signed_ = signer_sign(&signer, token->bytes, token->size, signature, &length);
    signer_close(&signer);
    if (!signed_)
        return false;
    buffer_append(token, ".", 1);
    base64_url_append(token, signature, length);
    return true;
}

static bool verify(const char *token, const char *key, size_t length)
{
    jwt_t *jwt = NULL;
    bool verified = jwt_decode(&jwt, token, (const unsigned char *)key, (int)length) == 0;

    jwt_free(jwt);
    return verified;
}

static bool verify_with_public_half(const char *token, const struct signing_key *key)
{
    BIO *out = BIO_new(BIO_s_mem());
    EVP_PKEY *pkey = key_material_pair(key->material);
    bool verified = false;
    char *pem;

    if (pkey != NULL && out != NULL && PEM_write_bio_PUBKEY(out, pkey) == 1) {
        size_t length = (size_t)BIO_get_mem_data(out, &pem);

        verified = verify(token, pem, length);
    }
    EVP_PKEY_free(pkey);
    BIO_free(out);
    return verified;
}

bool key_proof(const struct signing_key *key)
{
    struct buffer token = {0};
    bool proven = sign(key, &token) &&
                  (key->alg == KEY_HS256 ? verify(token.bytes, key->material, key->material_length)
                                         : verify_with_public_half(token.bytes, key));

    buffer_dispose(&token);
    ERR_clear_error();
    return proven;
}
