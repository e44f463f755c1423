#include "auth/client/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define PREFIX          "jot_"
#define PREFIX_LENGTH   4
#define RANDOM_LENGTH   43
#define CHECKSUM_LENGTH 6
#define CHECKED_LENGTH  (PREFIX_LENGTH + RANDOM_LENGTH)

_Static_assert(CHECKED_LENGTH + CHECKSUM_LENGTH == SECRET_LENGTH, "the parts make the whole");
_Static_assert(SECRET_DIGEST_LENGTH == SHA256_DIGEST_LENGTH, "the digest is a SHA-256");

static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/* Rejection sampling: bytes below 248 = 4 * 62 yield every digit equally often, the others are
 * discarded. */
static bool random_digits(char *text, size_t length)
{
    unsigned char random[2 * RANDOM_LENGTH];
    size_t count = 0;
    bool drawn = true;

    while (count < length) {
        drawn = RAND_priv_bytes(random, sizeof(random)) == 1;
        if (!drawn)
            break;
        for (size_t i = 0; i < sizeof(random) && count < length; i++) {
            if (random[i] < 248)
                text[count++] = digits[random[i] % 62];
        }
    }
    OPENSSL_cleanse(random, sizeof(random));
    return drawn;
}

/* Base 62, most significant digit first. */
static void checksum(const char *text, char out[CHECKSUM_LENGTH])
{
    unsigned long crc = crc32(0, (const unsigned char *)text, CHECKED_LENGTH);

    for (size_t i = CHECKSUM_LENGTH; i > 0; i--) {
        out[i - 1] = digits[crc % 62];
        crc /= 62;
    }
}

static bool is_alphanumeric(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool secret_make(char text[SECRET_LENGTH + 1])
{
    memcpy(text, PREFIX, PREFIX_LENGTH);
    if (!random_digits(text + PREFIX_LENGTH, RANDOM_LENGTH))
        return false;
    checksum(text, text + CHECKED_LENGTH);
    text[SECRET_LENGTH] = '\0';
    return true;
}

bool secret_is_well_formed(struct slice text)
{
    char expected[CHECKSUM_LENGTH];

    if (text.length != SECRET_LENGTH || memcmp(text.bytes, PREFIX, PREFIX_LENGTH) != 0)
        return false;
    for (size_t i = PREFIX_LENGTH; i < CHECKED_LENGTH; i++) {
        if (!is_alphanumeric(text.bytes[i]))
            return false;
    }
    checksum(text.bytes, expected);
    return CRYPTO_memcmp(text.bytes + CHECKED_LENGTH, expected, CHECKSUM_LENGTH) == 0;
}

bool secret_is_suspected(struct slice text)
{
    static const char jwt[] = "eyJ"; /* `{"` in base64url */

    if (text.length == 0)
        return false; /* `bytes` may be NULL */
    return memmem(text.bytes, text.length, PREFIX, PREFIX_LENGTH) != NULL ||
           (text.length > SECRET_LENGTH &&
            memmem(text.bytes, text.length, jwt, sizeof(jwt) - 1) != NULL);
}

static const EVP_MD *sha256;

static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
}

/* SHA256() would look up the algorithm on every call, under a lock shared by all threads. */
void secret_digest(struct slice text, struct secret_digest *digest)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, fetch_sha256);
    if (sha256 == NULL ||
        EVP_Digest(text.bytes, text.length, digest->bytes, NULL, sha256, NULL) != 1) {
        fputs("jotd: OpenSSL cannot make a SHA-256\n", stderr);
        abort(); /* out of memory; never compare a digest that was not computed */
    }
}

bool secret_digest_equal(const struct secret_digest *a, const struct secret_digest *b)
{
    return CRYPTO_memcmp(a->bytes, b->bytes, SECRET_DIGEST_LENGTH) == 0;
}
