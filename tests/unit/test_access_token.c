/* auth/token: access_token, signer and key_proof; libjwt verifies the tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <jansson.h>
#include <jwt.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdlib.h>

#include "auth/token/access_token.h"
#include "auth/token/jwk.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/token/key_proof.h"
#include "common/base64.h"

static char directory[] = "/tmp/jotd-test-XXXXXX";
static struct key_set *set;

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* Creates a key of each algorithm. */
static int set_up(void **state)
{
    struct failure failure;
    char kid[KEY_KID_LENGTH + 1];

    (void)state;
    if (mkdtemp(directory) == NULL)
        return -1;
    for (int alg = 0; alg != KEY_ALG_COUNT; ++alg) {
        if (!key_file_create(directory, (enum key_alg)alg, 1000 + alg, kid, &failure))
            return -1;
    }
    set = key_directory_load(directory, &failure);
    return set != NULL && set->count == KEY_ALG_COUNT ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    key_set_release(set);
    return nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static const struct signing_key *key_of(enum key_alg alg)
{
    for (size_t i = 0; i != set->count; ++i) {
        if (set->keys[i].alg == alg)
            return set->keys + i;
    }
    fail();
    return NULL;
}

/* Writes what a verifier needs: the public key as PEM, or the shared secret. */
static int verifier_key(const struct signing_key *key, unsigned char *out, int size)
{
    BIO *in = BIO_new_mem_buf(key->material, (int)key->material_length);
    BIO *text = BIO_new(BIO_s_mem());
    EVP_PKEY *private_key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    int length;

    assert_non_null(private_key);
    assert_int_equal(PEM_write_bio_PUBKEY(text, private_key), 1);
    length = BIO_read(text, out, size);
    EVP_PKEY_free(private_key);
    BIO_free(in);
    BIO_free(text);
    return length;
}

static const struct slice audiences[] = {{"https://a.example", 17}, {"say \"b\"", 7}};

static struct access_token_claims make_claims(size_t audience_count)
{
    struct access_token_claims claims = {
        .issuer = SLICE("https://issuer.example"),
        .client_id = SLICE("client-1"),
        .audiences = audiences,
        .audience_count = audience_count,
        .scope = SLICE("read write"),
        .issued_at = 1700000000,
        .expires_at = 1700003600,
    };

    assert_true(uuid_parse(SLICE("017f22e2-79b0-7cc3-98c4-dc0c0c07398f"), &claims.jti));
    return claims;
}

/* Exported by libjwt 1.10 but not in its header; jwt_decode verifies with it. */
int jwt_verify_sha_pem(jwt_t *jwt, const char *text, const char *signature);
int jwt_verify_sha_hmac(jwt_t *jwt, const char *text, const char *signature);

static int verify_signature(enum key_alg alg, const unsigned char *key, int key_length,
                            const char *token)
{
    static const jwt_alg_t algs[] = {JWT_ALG_ES256, JWT_ALG_RS256, JWT_ALG_HS256};
    char *text = strdup(token), *signature = strrchr(text, '.');
    jwt_t *jwt = NULL;
    int error;

    *signature++ = '\0';
    assert_int_equal(jwt_new(&jwt), 0);
    assert_int_equal(jwt_set_alg(jwt, algs[alg], key, key_length), 0);
    error = alg == KEY_HS256 ? jwt_verify_sha_hmac(jwt, text, signature)
                             : jwt_verify_sha_pem(jwt, text, signature);
    jwt_free(jwt);
    free(text);
    return error;
}

/* Decodes one part of a token as JSON. */
static json_t *part(const char *token, int index)
{
    char text[2048], bytes[2048];
    size_t length;

    for (; index != 0; --index)
        token = strchr(token, '.') + 1;
    length = strcspn(token, ".");
    for (size_t i = 0; i != length; ++i)
        text[i] = (char)(token[i] == '-' ? '+' : token[i] == '_' ? '/' : token[i]);
    while (length % 4 != 0)
        text[length++] = '=';
    assert_true(EVP_DecodeBlock((unsigned char *)bytes, (unsigned char *)text, (int)length) > 0);
    return json_loads(bytes, JSON_DISABLE_EOF_CHECK, NULL);
}

static void assert_member(const json_t *object, const char *name, const char *value)
{
    assert_string_equal(json_string_value(json_object_get(object, name)), value);
}

static void verify(const char *token, const struct signing_key *key)
{
    unsigned char verifier[2048];
    json_t *header = part(token, 0), *payload = part(token, 1);
    int length = 32;

    assert_member(header, "alg", key_alg_name(key->alg));
    assert_member(header, "typ", "at+jwt");
    assert_member(header, "kid", key->kid);
    assert_member(payload, "iss", "https://issuer.example");
    assert_member(payload, "sub", "client-1");
    assert_member(payload, "client_id", "client-1");
    assert_member(payload, "aud", "https://a.example");
    assert_member(payload, "scope", "read write");
    assert_member(payload, "jti", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
    assert_int_equal(json_integer_value(json_object_get(payload, "iat")), 1700000000);
    assert_int_equal(json_integer_value(json_object_get(payload, "exp")), 1700003600);
    json_decref(header);
    json_decref(payload);

    if (key->alg == KEY_HS256)
        memcpy(verifier, key->material, 32);
    else
        length = verifier_key(key, verifier, sizeof(verifier));
    assert_int_equal(verify_signature(key->alg, verifier, length, token), 0);
    verifier[length / 2] ^= 1; /* with another key it must fail */
    assert_int_not_equal(verify_signature(key->alg, verifier, length, token), 0);
}

static void proves_every_algorithm(void **state)
{
    struct signing_key mistaken = *key_of(KEY_RS256);

    (void)state;
    for (int alg = 0; alg != KEY_ALG_COUNT; ++alg)
        assert_true(key_proof(key_of((enum key_alg)alg)));
    mistaken.alg = KEY_ES256;
    assert_false(key_proof(&mistaken));
}

static void libjwt_verifies_every_algorithm(void **state)
{
    (void)state;
    for (int alg = 0; alg != KEY_ALG_COUNT; ++alg) {
        const struct signing_key *key = key_of((enum key_alg)alg);
        struct access_token_claims claims = make_claims(1);
        struct access_token_signer signer = {0};
        struct buffer token = {0};

        assert_true(access_token_signer_set(&signer, key));
        for (int i = 0; i != 3; ++i) {
            buffer_clear(&token);
            assert_true(access_token_sign(&signer, &claims, &token));
            assert_int_equal(strlen(token.bytes), token.size);
            verify(token.bytes, key);
        }
        buffer_dispose(&token);
        access_token_signer_dispose(&signer);
    }
}

/* RFC 7518 3.4: r and s keep leading zeros; one in 256 starts with a zero byte. */
static void pads_the_numbers_of_an_ecdsa_signature(void **state)
{
    static const char text[] = "header.payload";
    const struct signing_key *key = key_of(KEY_ES256);
    unsigned char verifier[2048], signature[SIGNATURE_MAX];
    int verifier_length = verifier_key(key, verifier, sizeof(verifier));
    size_t length, short_r = 0, short_s = 0;
    struct signer signer;
    struct buffer token = {0};

    (void)state;
    assert_true(signer_open(&signer, key));
    while (short_r < 3 || short_s < 3) {
        assert_true(signer_sign(&signer, text, strlen(text), signature, &length));
        assert_int_equal(length, 64);
        if (signature[0] != 0 && signature[32] != 0)
            continue;
        short_r += signature[0] == 0;
        short_s += signature[32] == 0;
        buffer_clear(&token);
        buffer_append_text(&token, text);
        buffer_append_text(&token, ".");
        base64_url_append(&token, signature, length);
        assert_int_equal(verify_signature(KEY_ES256, verifier, verifier_length, token.bytes), 0);
    }
    signer_close(&signer);
    buffer_dispose(&token);
}

static void writes_several_audiences_as_an_array_and_no_empty_scope(void **state)
{
    struct access_token_claims claims = make_claims(2);
    struct access_token_signer signer = {0};
    struct buffer token = {0};

    (void)state;
    claims.scope.length = 0;
    assert_true(access_token_signer_set(&signer, key_of(KEY_HS256)));
    assert_true(access_token_sign(&signer, &claims, &token));
    *buffer_reserve(&signer.payload, 1) = '\0';
    assert_string_equal(signer.payload.bytes,
                        "{\"iss\":\"https://issuer.example\",\"sub\":\"client-1\","
                        "\"client_id\":\"client-1\","
                        "\"aud\":[\"https://a.example\",\"say \\\"b\\\"\"],"
                        "\"exp\":1700003600,\"iat\":1700000000,"
                        "\"jti\":\"017f22e2-79b0-7cc3-98c4-dc0c0c07398f\"}");
    buffer_dispose(&token);
    access_token_signer_dispose(&signer);
}

static void takes_up_another_key(void **state)
{
    struct access_token_claims claims = make_claims(1);
    struct access_token_signer signer = {0};
    struct buffer token = {0};

    (void)state;
    for (int i = 0; i != 2 * KEY_ALG_COUNT; ++i) {
        const struct signing_key *key = key_of((enum key_alg)(i % KEY_ALG_COUNT));

        assert_true(access_token_signer_set(&signer, key));
        buffer_clear(&token);
        assert_true(access_token_sign(&signer, &claims, &token));
        verify(token.bytes, key);
    }
    buffer_dispose(&token);
    access_token_signer_dispose(&signer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(libjwt_verifies_every_algorithm),
        cmocka_unit_test(proves_every_algorithm),
        cmocka_unit_test(pads_the_numbers_of_an_ecdsa_signature),
        cmocka_unit_test(writes_several_audiences_as_an_array_and_no_empty_scope),
        cmocka_unit_test(takes_up_another_key),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
