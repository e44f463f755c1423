/* auth/token/jwk: members, padding, and the thumbprint of RFC 7638's example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "auth/token/jwk.h"

static void test_thumbprint_of_rfc_7638_section_3_1(void **state)
{
    const char *jwk =
        "{\"kty\":\"RSA\",\"n\":"
        "\"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu"
        "1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w"
        "6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpb"
        "ISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8a"
        "wapJzKnqDKgw\",\"e\":\"AQAB\",\"alg\":\"RS256\",\"kid\":\"2011-04-29\"}";
    char thumbprint[KEY_KID_LENGTH + 1];

    (void)state;
    assert_true(jwk_thumbprint(jwk, thumbprint));
    assert_string_equal(thumbprint, "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
}

static void test_thumbprint_wants_a_public_key(void **state)
{
    static const char *const refused[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"kty\":\"oct\",\"k\":\"AAAA\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\"}",
        "{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":65537}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQAB\"}",
    };
    char thumbprint[KEY_KID_LENGTH + 1];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refused); ++i)
        assert_false(jwk_thumbprint(refused[i], thumbprint));
}

static bool coordinate_is_short(EVP_PKEY *pkey, const char *name)
{
    BIGNUM *number = NULL;
    bool is_short;

    assert_true(EVP_PKEY_get_bn_param(pkey, name, &number));
    is_short = BN_num_bytes(number) < 32;
    BN_free(number);
    return is_short;
}

/* A coordinate that starts with a zero byte (one key in 256) is still 32 bytes long. */
static void test_short_coordinates_are_padded(void **state)
{
    static const struct {
        const char *param, *member;
    } coordinates[] = {{"qx", "x"}, {"qy", "y"}};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(coordinates); ++i) {
        char kid[KEY_KID_LENGTH + 1];
        const char *value;
        EVP_PKEY *pkey;
        json_t *jwk;
        char *text;

        while (!coordinate_is_short(pkey = EVP_EC_gen("P-256"), coordinates[i].param))
            EVP_PKEY_free(pkey);
        text = jwk_public(pkey, KEY_ES256, kid);
        jwk = json_loads(text, 0, NULL);
        value = json_string_value(json_object_get(jwk, coordinates[i].member));
        assert_int_equal(strlen(value), 43);
        assert_int_equal(value[0], 'A');
        json_decref(jwk);
        free(text);
        EVP_PKEY_free(pkey);
    }
}

static void test_jwk_members_and_their_order(void **state)
{
    static const char *const prefixes[] = {
        [KEY_ES256] = "{\"kty\":\"EC\",\"use\":\"sig\",\"alg\":\"ES256\",\"kid\":\"",
        [KEY_RS256] = "{\"kty\":\"RSA\",\"use\":\"sig\",\"alg\":\"RS256\",\"kid\":\"",
    };
    static const char *const members[][4] = {
        [KEY_ES256] = {"crv", "x", "y", NULL},
        [KEY_RS256] = {"n", "e", NULL},
    };

    (void)state;
    for (enum key_alg alg = KEY_ES256; alg <= KEY_RS256; ++alg) {
        EVP_PKEY *pkey = alg == KEY_ES256 ? EVP_EC_gen("P-256") : EVP_RSA_gen(2048);
        char kid[KEY_KID_LENGTH + 1], thumbprint[KEY_KID_LENGTH + 1];
        char *text = jwk_public(pkey, alg, kid);
        json_t *jwk = json_loads(text, 0, NULL);
        const char *last = text;

        assert_memory_equal(text, prefixes[alg], strlen(prefixes[alg]));
        assert_string_equal(json_string_value(json_object_get(jwk, "kid")), kid);
        assert_true(jwk_thumbprint(text, thumbprint));
        assert_string_equal(thumbprint, kid);
        for (size_t i = 0; members[alg][i] != NULL; ++i) {
            const char *value = json_string_value(json_object_get(jwk, members[alg][i]));

            assert_non_null(value);
            assert_true(strstr(text, value) > last);
            last = strstr(text, value);
        }
        assert_int_equal(json_object_size(jwk), alg == KEY_ES256 ? 7 : 6);
        json_decref(jwk);
        free(text);
        EVP_PKEY_free(pkey);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thumbprint_of_rfc_7638_section_3_1),
        cmocka_unit_test(test_thumbprint_wants_a_public_key),
        cmocka_unit_test(test_short_coordinates_are_padded),
        cmocka_unit_test(test_jwk_members_and_their_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
