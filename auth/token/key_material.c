#include "auth/token/key_material.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "auth/token/jwk.h"
#include "common/base64.h"

#define HS256_PEM_TYPE "JOTD HS256 KEY"
#define HS256_LENGTH   32   /* RFC 7518 3.2: at least the size of the hash */
#define RSA_BITS       2048 /* RFC 7518 3.3: the minimum */
#define RSA_BITS_MAX   8192 /* limited by SIGNATURE_MAX */

void key_material_free(char *material, size_t length)
{
    OPENSSL_secure_clear_free(material, length);
}

/* The bytes need no wiping here: freeing a memory BIO wipes them. */
static char *text_of(BIO *bio)
{
    char *bytes;
    long length = BIO_get_mem_data(bio, &bytes);

    return strndup(bytes, (size_t)length);
}

static bool make_secret(BIO *bio, char kid[KEY_KID_LENGTH + 1])
{
    unsigned char secret[HS256_LENGTH], id[32];
    char text[sizeof(id) * 4 / 3 + 4];
    bool made = RAND_priv_bytes(secret, sizeof(secret)) == 1 && RAND_bytes(id, sizeof(id)) == 1 &&
                PEM_write_bio(bio, HS256_PEM_TYPE, "", secret, sizeof(secret)) != 0;

    OPENSSL_cleanse(secret, sizeof(secret));
    if (made) {
        base64_url_encode(id, sizeof(id), text);
        memcpy(kid, text, KEY_KID_LENGTH + 1);
    }
    return made;
}

static bool make_pair(BIO *bio, enum key_alg alg, char kid[KEY_KID_LENGTH + 1])
{
    EVP_PKEY *pkey = alg == KEY_ES256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(RSA_BITS);
    char *jwk = pkey != NULL ? jwk_public(pkey, alg, kid) : NULL;
    bool made = jwk != NULL && PEM_write_bio_PKCS8PrivateKey(bio, pkey, NULL, NULL, 0, NULL, NULL);

    free(jwk);
    EVP_PKEY_free(pkey);
    return made;
}

char *key_material_make(enum key_alg alg, char kid[KEY_KID_LENGTH + 1], struct failure *failure)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *pem = NULL;

    if (bio != NULL && (alg == KEY_HS256 ? make_secret(bio, kid) : make_pair(bio, alg, kid)))
        pem = text_of(bio);
    BIO_free(bio);
    if (pem == NULL)
        failure_set(failure, "cannot make an %s key: OpenSSL has no memory or no randomness",
                    key_alg_name(alg));
    ERR_clear_error();
    return pem;
}

static bool read_secret(struct signing_key *key, const char *pem, struct failure *failure)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    char *type = NULL, *header = NULL;
    unsigned char *bytes = NULL;
    long length = 0;
    static const unsigned char zeros[HS256_LENGTH];
    bool fits = bio != NULL && PEM_read_bio(bio, &type, &header, &bytes, &length) != 0 &&
                strcmp(type, HS256_PEM_TYPE) == 0 && *header == '\0' && length == HS256_LENGTH;
    bool known = fits && CRYPTO_memcmp(bytes, zeros, HS256_LENGTH) == 0;

    if (fits && !known && (key->material = OPENSSL_secure_malloc(HS256_LENGTH)) != NULL) {
        memcpy(key->material, bytes, HS256_LENGTH);
        key->material_length = HS256_LENGTH;
    }
    BIO_free(bio);
    OPENSSL_free(type);
    OPENSSL_free(header);
    OPENSSL_clear_free(bytes, (size_t)length);
    if (!fits)
        return failure_set(failure, "not %d bytes in a PEM block of type %s", HS256_LENGTH,
                           HS256_PEM_TYPE);
    if (known)
        return failure_set(failure, "its secret is all zeros; make a key with `jotd key create`");
    return key->material != NULL || failure_set(failure, "out of memory");
}

/* Keeps OpenSSL from prompting on the terminal for the passphrase of an encrypted key. */
static int no_passphrase(char *text, int size, int writing, void *data)
{
    (void)text, (void)size, (void)writing, (void)data;
    return -1;
}

static bool pair_fits(EVP_PKEY *pkey, enum key_alg alg, struct failure *failure)
{
    char curve[64] = "";
    EVP_PKEY_CTX *context;
    bool consistent;

    if (alg == KEY_ES256 &&
        (!EVP_PKEY_is_a(pkey, "EC") || !EVP_PKEY_get_group_name(pkey, curve, sizeof(curve), NULL) ||
         OBJ_txt2nid(curve) != NID_X9_62_prime256v1))
        return failure_set(failure, "not a key of the curve P-256, which ES256 needs");
    if (alg == KEY_RS256 && (!EVP_PKEY_is_a(pkey, "RSA") || EVP_PKEY_get_bits(pkey) < RSA_BITS ||
                             EVP_PKEY_get_bits(pkey) > RSA_BITS_MAX))
        return failure_set(failure, "not an RSA key of %d to %d bits, which RS256 needs", RSA_BITS,
                           RSA_BITS_MAX);

    context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    consistent = context != NULL && EVP_PKEY_pairwise_check(context) == 1;
    EVP_PKEY_CTX_free(context);
    return consistent ||
           failure_set(failure, "its private and public halves do not belong together");
}

/* Fills `key` from the pair; the name's kid must match. */
static bool take_pair(struct signing_key *key, EVP_PKEY *pkey, const char *pem,
                      struct failure *failure)
{
    char kid[KEY_KID_LENGTH + 1];
    char *jwk = jwk_public(pkey, key->alg, kid);

    if (jwk == NULL)
        return failure_set(failure, "out of memory");
    if (strcmp(kid, key->kid) != 0) {
        free(jwk);
        return failure_set(failure, "the kid in its name is not the key's thumbprint, which is %s",
                           kid);
    }
    key->material_length = strlen(pem);
    if ((key->material = OPENSSL_secure_malloc(key->material_length + 1)) == NULL) {
        free(jwk);
        return failure_set(failure, "out of memory");
    }
    memcpy(key->material, pem, key->material_length + 1);
    key->jwk = jwk;
    return true;
}

EVP_PKEY *key_material_pair(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL) : NULL;

    BIO_free(bio);
    return pkey;
}

static bool read_pair(struct signing_key *key, const char *pem, struct failure *failure)
{
    EVP_PKEY *pkey = key_material_pair(pem);
    bool read;

    if (pkey == NULL)
        return failure_set(failure, "not an unencrypted private key in PEM");
    read = pair_fits(pkey, key->alg, failure) && take_pair(key, pkey, pem, failure);
    EVP_PKEY_free(pkey);
    return read;
}

bool key_material_read(struct signing_key *key, const char *pem, struct failure *failure)
{
    bool read =
        key->alg == KEY_HS256 ? read_secret(key, pem, failure) : read_pair(key, pem, failure);

    ERR_clear_error(); /* `failure` has the reason */
    return read;
}
