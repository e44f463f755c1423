/* auth/client/secret: the format of secrets, and which are well-formed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "auth/client/secret.h"

/* Computed with Python's zlib: the format must never change. */
#define KNOWN_SECRET "jot_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg0xncHt"

static const char alphabet[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

static int compare_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void made_secrets_are_well_formed_and_distinct(void **state)
{
    static char made[1000][SECRET_LENGTH + 1];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(made); i++) {
        assert_true(secret_make(made[i]));
        assert_int_equal(strlen(made[i]), SECRET_LENGTH);
        assert_int_equal(strspn(made[i] + 4, alphabet), SECRET_LENGTH - 4);
        assert_true(secret_is_well_formed(slice_of(made[i])));
    }
    qsort(made, COUNT_OF(made), sizeof(made[0]), compare_text);
    for (size_t i = 1; i < COUNT_OF(made); i++)
        assert_string_not_equal(made[i - 1], made[i]);
}

static void made_secrets_use_the_whole_alphabet_evenly(void **state)
{
    size_t seen[256] = {0};
    char text[SECRET_LENGTH + 1];

    (void)state;
    for (size_t i = 0; i < 2000; i++) {
        assert_true(secret_make(text));
        for (size_t j = 4; j < 47; j++)
            seen[(unsigned char)text[j]]++;
    }
    for (size_t i = 0; i < 62; i++) {
        /* 86,000 characters: 1,387 of each expected, standard deviation 37 */
        assert_in_range(seen[(unsigned char)alphabet[i]], 1387 - 8 * 37, 1387 + 8 * 37);
    }
}

static void a_known_secret_is_well_formed(void **state)
{
    (void)state;
    assert_true(secret_is_well_formed(SLICE(KNOWN_SECRET)));
}

static void any_changed_character_is_refused(void **state)
{
    char text[SECRET_LENGTH + 1] = KNOWN_SECRET;

    (void)state;
    for (size_t i = 0; i < SECRET_LENGTH; i++) {
        char right = text[i];

        for (int c = 0; c < 256; c++) {
            text[i] = (char)c;
            assert_int_equal(secret_is_well_formed((struct slice){text, SECRET_LENGTH}),
                             text[i] == right);
        }
        text[i] = right;
    }
}

static void another_length_or_order_is_refused(void **state)
{
    char text[SECRET_LENGTH + 2] = KNOWN_SECRET "0";

    (void)state;
    for (size_t length = 0; length <= SECRET_LENGTH + 1; length++)
        assert_int_equal(secret_is_well_formed((struct slice){text, length}),
                         length == SECRET_LENGTH);
    text[10] = KNOWN_SECRET[11];
    text[11] = KNOWN_SECRET[10];
    assert_false(secret_is_well_formed((struct slice){text, SECRET_LENGTH}));
}

static void a_right_checksum_does_not_excuse_the_rest(void **state)
{
    static const char *const texts[] = {
        "jot-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1l7b6R",
        "JOT_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg4cuy66",
        "jot_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef_0WXin5",
        "jot_-123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg1NoLDq",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(secret_is_well_formed(slice_of(texts[i])));
}

static void the_digest_is_sha_256(void **state)
{
    static const struct secret_digest of_abc = /* FIPS 180-2 B.1 */
        {{0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40,
          0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17,
          0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad}};
    struct secret_digest digest;

    (void)state;
    secret_digest(SLICE("abc"), &digest);
    assert_memory_equal(digest.bytes, of_abc.bytes, SECRET_DIGEST_LENGTH);
}

static void digests_are_equal_only_in_every_byte(void **state)
{
    struct secret_digest a, b;

    (void)state;
    secret_digest(SLICE(KNOWN_SECRET), &a);
    b = a;
    assert_true(secret_digest_equal(&a, &b));
    for (size_t i = 0; i < SECRET_DIGEST_LENGTH; i++) {
        b.bytes[i] ^= 1;
        assert_false(secret_digest_equal(&a, &b));
        b.bytes[i] ^= 1;
    }
}

static void suspects_what_may_be_a_secret(void **state)
{
    static const char *const secret[] = {
        "jot_", "x/jot_0123", "jot_YRXsbTsNDh0Xl68Y5CPsJBq4v8yaAbXEuoSW9j0lp2c3wl2hX",
        "/x/eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xOjgwODAifQ"};
    static const char *const harmless[] = {"", "billing", "heyJude", "/.well-known/jwks.json"};

    (void)state;
    for (size_t i = 0; i != COUNT_OF(secret); ++i)
        assert_true(secret_is_suspected(slice_of(secret[i])));
    for (size_t i = 0; i != COUNT_OF(harmless); ++i)
        assert_false(secret_is_suspected(slice_of(harmless[i])));
    assert_false(secret_is_suspected((struct slice){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_secrets_are_well_formed_and_distinct),
        cmocka_unit_test(made_secrets_use_the_whole_alphabet_evenly),
        cmocka_unit_test(a_known_secret_is_well_formed),
        cmocka_unit_test(any_changed_character_is_refused),
        cmocka_unit_test(another_length_or_order_is_refused),
        cmocka_unit_test(a_right_checksum_does_not_excuse_the_rest),
        cmocka_unit_test(the_digest_is_sha_256),
        cmocka_unit_test(digests_are_equal_only_in_every_byte),
        cmocka_unit_test(suspects_what_may_be_a_secret),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
