#include "auth/token/verifier.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "auth/token/key_material.h"

#define P256_BYTES       32
#define ECDSA_ASN1_MAX   80 /* bytes of r and s in ASN.1: 72, and some */
#define ECDSA_RAW_LENGTH (2 * P256_BYTES)
#define HS256_LENGTH     32

static bool open_pair(struct verifier *verifier, const struct signing_key *key)
{
    EVP_PKEY *pkey = key_material_pair(key->material);

    verifier->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    verifier->pair = pkey != NULL ? EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL) : NULL;
    EVP_PKEY_free(pkey);
    return verifier->pair != NULL && verifier->sha256 != NULL &&
           EVP_PKEY_verify_init(verifier->pair) == 1 &&
           (key->alg == KEY_ES256 ||
            EVP_PKEY_CTX_set_rsa_padding(verifier->pair, RSA_PKCS1_PADDING) == 1) &&
           EVP_PKEY_CTX_set_signature_md(verifier->pair, verifier->sha256) == 1;
}

bool verifier_open(struct verifier *verifier, const struct signing_key *key)
{
    *verifier = (struct verifier){.alg = key->alg};
    if (key->alg == KEY_HS256 ? signer_open(&verifier->signer, key) : open_pair(verifier, key))
        return true;
    ERR_clear_error();
    verifier_close(verifier);
    return false;
}

void verifier_close(struct verifier *verifier)
{
    signer_close(&verifier->signer);
    EVP_PKEY_CTX_free(verifier->pair);
    EVP_MD_free(verifier->sha256);
    *verifier = (struct verifier){0};
}

static bool verify_mac(struct verifier *verifier, struct slice text, struct slice signature)
{
    unsigned char expected[SIGNATURE_MAX];
    size_t length;

    return signer_sign(&verifier->signer, text.bytes, text.length, expected, &length) &&
           length == HS256_LENGTH && signature.length == HS256_LENGTH &&
           CRYPTO_memcmp(expected, signature.bytes, HS256_LENGTH) == 0;
}

/* JWS has r and s raw, of full width (RFC 7518 3.4); OpenSSL wants them in ASN.1. Returns the
 * length; 0 or less when there is no memory. */
static int make_asn1(struct slice raw, unsigned char asn1[ECDSA_ASN1_MAX])
{
    const unsigned char *bytes = (const unsigned char *)raw.bytes;
    ECDSA_SIG *parsed = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, P256_BYTES, NULL),
           *s = BN_bin2bn(bytes + P256_BYTES, P256_BYTES, NULL);
    int length = -1;

    if (parsed != NULL && r != NULL && s != NULL && ECDSA_SIG_set0(parsed, r, s) == 1) {
        r = s = NULL; /* the signature owns them */
        length = i2d_ECDSA_SIG(parsed, &asn1);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(parsed);
    return length;
}

static bool verify_pair(struct verifier *verifier, struct slice text, struct slice signature)
{
    unsigned char digest[EVP_MAX_MD_SIZE], asn1[ECDSA_ASN1_MAX];
    const unsigned char *bytes = (const unsigned char *)signature.bytes;
    size_t length = signature.length;
    unsigned digest_length;

    if (verifier->alg == KEY_ES256) {
        int made = signature.length == ECDSA_RAW_LENGTH ? make_asn1(signature, asn1) : -1;

        if (made <= 0)
            return false;
        bytes = asn1;
        length = (size_t)made;
    }
    return EVP_Digest(text.bytes, text.length, digest, &digest_length, verifier->sha256, NULL) ==
               1 &&
           EVP_PKEY_verify(verifier->pair, bytes, length, digest, digest_length) == 1;
}

bool verifier_verify(struct verifier *verifier, struct slice text, struct slice signature)
{
    bool verified = verifier->alg == KEY_HS256 ? verify_mac(verifier, text, signature)
                                               : verify_pair(verifier, text, signature);

    if (!verified)
        ERR_clear_error(); /* a wrong signature may leave one */
    return verified;
}
