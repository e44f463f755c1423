/* OpenSSL's bare signature of a token's size, with the key parsed and all contexts prepared: the
 * lower bound for a server that uses OpenSSL.
 *
 *     bench_sign ES256|RS256|HS256 MILLISECONDS [verify]
 *
 * Prints nanoseconds of processor time per signature, or per verification of one.
 */
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEXT_LENGTH 450 /* header.payload of a usual token */

static const unsigned char text[TEXT_LENGTH] = {'e', 'y', 'J'};

static double cpu_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static EVP_MAC_CTX *mac_context;
static EVP_MD_CTX *digest_context;
static EVP_PKEY_CTX *key_context;

static bool prepare_mac(void)
{
    static const unsigned char secret[32] = {1};
    OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", (char *)"SHA256", 0),
                               OSSL_PARAM_construct_end()};
    EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);

    mac_context = EVP_MAC_CTX_new(hmac);
    EVP_MAC_free(hmac);
    return EVP_MAC_init(mac_context, secret, sizeof(secret), parameters) == 1;
}

static bool prepare_key(EVP_PKEY *key)
{
    EVP_MD *sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    bool prepared;

    digest_context = EVP_MD_CTX_new();
    key_context = EVP_PKEY_CTX_new(key, NULL);
    prepared = EVP_DigestInit_ex2(digest_context, sha256, NULL) == 1 &&
               EVP_PKEY_sign_init(key_context) == 1 &&
               EVP_PKEY_CTX_set_signature_md(key_context, sha256) == 1;
    EVP_MD_free(sha256);
    EVP_PKEY_free(key);
    return prepared;
}

static bool prepare(const char *alg)
{
    if (strcmp(alg, "HS256") == 0)
        return prepare_mac();
    if (strcmp(alg, "ES256") == 0)
        return prepare_key(EVP_EC_gen("P-256"));
    return strcmp(alg, "RS256") == 0 && prepare_key(EVP_RSA_gen(2048));
}

static bool sign(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE], signature[512];
    unsigned digest_length;
    size_t length = sizeof(signature);

    if (mac_context != NULL)
        return EVP_MAC_init(mac_context, NULL, 0, NULL) == 1 &&
               EVP_MAC_update(mac_context, text, sizeof(text)) == 1 &&
               EVP_MAC_final(mac_context, signature, &length, sizeof(signature)) == 1;
    return EVP_DigestInit_ex2(digest_context, NULL, NULL) == 1 &&
           EVP_DigestUpdate(digest_context, text, sizeof(text)) == 1 &&
           EVP_DigestFinal_ex(digest_context, digest, &digest_length) == 1 &&
           EVP_PKEY_sign(key_context, signature, &length, digest, digest_length) == 1;
}

static unsigned char known[512];
static size_t known_length = sizeof(known);

/* Makes the signature that is then verified, by a context of its own. */
static bool prepare_verification(void)
{
    EVP_PKEY_CTX *signing = key_context;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length;
    bool prepared = signing != NULL && EVP_DigestUpdate(digest_context, text, sizeof(text)) == 1 &&
                    EVP_DigestFinal_ex(digest_context, digest, &length) == 1 &&
                    EVP_PKEY_sign(signing, known, &known_length, digest, length) == 1;

    if (!prepared)
        return false;
    key_context = EVP_PKEY_CTX_new(EVP_PKEY_CTX_get0_pkey(signing), NULL);
    EVP_PKEY_CTX_free(signing);
    return EVP_PKEY_verify_init(key_context) == 1;
}

static bool verify(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length;

    return EVP_DigestInit_ex2(digest_context, NULL, NULL) == 1 &&
           EVP_DigestUpdate(digest_context, text, sizeof(text)) == 1 &&
           EVP_DigestFinal_ex(digest_context, digest, &length) == 1 &&
           EVP_PKEY_verify(key_context, known, known_length, digest, length) == 1;
}

int main(int argc, char **argv)
{
    bool verifies = argc == 4 && strcmp(argv[3], "verify") == 0;
    double until_ns = argc == 3 || verifies ? strtod(argv[2], NULL) * 1e6 : 0, spent_ns = 0,
           started_ns;
    unsigned long count = 0;

    if (!(until_ns > 0) || !prepare(argv[1]) || (verifies && !prepare_verification())) {
        fprintf(stderr, "usage: bench_sign ES256|RS256|HS256 MILLISECONDS [verify]\n");
        return 2;
    }
    started_ns = cpu_ns();
    while (spent_ns < until_ns) {
        if (!(verifies ? verify() : sign())) {
            fprintf(stderr, "bench_sign: the signature failed\n");
            return 1;
        }
        if (++count % 16 == 0)
            spent_ns = cpu_ns() - started_ns;
    }
    printf("%.1f\n", spent_ns / (double)count);
    EVP_MD_CTX_free(digest_context);
    EVP_MAC_CTX_free(mac_context);
    EVP_PKEY_CTX_free(key_context);
    return 0;
}
