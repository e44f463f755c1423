#include "auth/token/signer.h"

#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#include "auth/token/key_material.h"

#define P256_BYTES 32

static bool open_mac(struct signer *signer, const struct signing_key *key)
{
    const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                                      (char *)"SHA256", 0),
                                     OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    signer->mac = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac); /* the context holds its own reference */
    return signer->mac != NULL && EVP_MAC_init(signer->mac, (const unsigned char *)key->material,
                                               key->material_length, parameters) == 1;
}

static bool open_pair(struct signer *signer, const struct signing_key *key)
{
    EVP_PKEY *pkey = key_material_pair(key->material);
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool opened;

    signer->pair = pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
    signer->digest = EVP_MD_CTX_new();
    opened =
        signer->pair != NULL && signer->digest != NULL && sha256 != NULL &&
        EVP_DigestInit_ex2(signer->digest, sha256, NULL) == 1 &&
        EVP_PKEY_sign_init(signer->pair) == 1 &&
        (signer->ecdsa || EVP_PKEY_CTX_set_rsa_padding(signer->pair, RSA_PKCS1_PADDING) == 1) &&
        EVP_PKEY_CTX_set_signature_md(signer->pair, sha256) == 1;
    EVP_MD_free(sha256);
    EVP_PKEY_free(pkey);
    return opened;
}

bool signer_open(struct signer *signer, const struct signing_key *key)
{
    *signer = (struct signer){.ecdsa = key->alg == KEY_ES256};
    if (key->alg == KEY_HS256 ? open_mac(signer, key) : open_pair(signer, key))
        return true;
    ERR_clear_error();
    signer_close(signer);
    return false;
}

void signer_close(struct signer *signer)
{
    EVP_MAC_CTX_free(signer->mac);
    EVP_PKEY_CTX_free(signer->pair);
    EVP_MD_CTX_free(signer->digest);
    *signer = (struct signer){0};
}

/* OpenSSL returns r and s in ASN.1; JWS wants them raw. */
static bool make_raw(unsigned char signature[SIGNATURE_MAX], size_t *length)
{
    const unsigned char *asn1 = signature;
    ECDSA_SIG *parsed = d2i_ECDSA_SIG(NULL, &asn1, (long)*length);
    bool made =
        parsed != NULL &&
        BN_bn2binpad(ECDSA_SIG_get0_r(parsed), signature, P256_BYTES) == P256_BYTES &&
        BN_bn2binpad(ECDSA_SIG_get0_s(parsed), signature + P256_BYTES, P256_BYTES) == P256_BYTES;

    ECDSA_SIG_free(parsed);
    *length = 2 * P256_BYTES;
    return made;
}

bool signer_sign(struct signer *signer, const char *text, size_t text_length,
                 unsigned char signature[SIGNATURE_MAX], size_t *length)
{
    const unsigned char *bytes = (const unsigned char *)text;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned digest_length;
    bool done;

    *length = SIGNATURE_MAX;
    if (signer->mac != NULL) /* NULL reuses its key */
        done = EVP_MAC_init(signer->mac, NULL, 0, NULL) == 1 &&
               EVP_MAC_update(signer->mac, bytes, text_length) == 1 &&
               EVP_MAC_final(signer->mac, signature, length, SIGNATURE_MAX) == 1;
    else
        done = EVP_DigestInit_ex2(signer->digest, NULL, NULL) == 1 &&
               EVP_DigestUpdate(signer->digest, bytes, text_length) == 1 &&
               EVP_DigestFinal_ex(signer->digest, digest, &digest_length) == 1 &&
               EVP_PKEY_sign(signer->pair, signature, length, digest, digest_length) == 1 &&
               (!signer->ecdsa || make_raw(signature, length));
    if (!done)
        ERR_clear_error();
    return done;
}
