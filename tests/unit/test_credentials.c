/* auth/client/credentials: client credentials in Basic or in the body. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <stdio.h>

#include "auth/client/credentials.h"

static struct credentials credentials;

static enum credentials_error read_both(const char *authorization, const char *id,
                                        const char *secret)
{
    return credentials_read(slice_of(authorization), slice_of(id), slice_of(secret), &credentials);
}

static enum credentials_error read_header(const char *authorization)
{
    return read_both(authorization, "", "");
}

/* Reads `text` as the decoded base64, without its NUL. */
static enum credentials_error read_text(const char *text)
{
    char header[4096] = "Basic ";

    assert_true(strlen(text) < 2048);
    EVP_EncodeBlock((unsigned char *)header + 6, (const unsigned char *)text, (int)strlen(text));
    return read_header(header);
}

static void assert_credentials(const char *id, const char *secret)
{
    assert_int_equal(credentials.id.length, strlen(id));
    assert_memory_equal(credentials.id.bytes, id, strlen(id));
    assert_int_equal(credentials.secret.length, strlen(secret));
    assert_memory_equal(credentials.secret.bytes, secret, strlen(secret));
}

static void the_examples_of_the_rfcs_are_read(void **state)
{
    (void)state;
    assert_int_equal(read_header("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW"), CREDENTIALS_OK);
    assert_credentials("s6BhdRkqt3", "gX1fBat3bV"); /* RFC 6749 2.3.1 */
    assert_int_equal(read_header("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), CREDENTIALS_OK);
    assert_credentials("Aladdin", "open sesame"); /* RFC 7617 2 */
    assert_int_equal(read_header("Basic dGVzdDoxMjPCow=="), CREDENTIALS_OK);
    assert_credentials("test", "123\xc2\xa3"); /* RFC 7617 2.1 */
}

static void the_header_may_be_written_in_several_ways(void **state)
{
    static const char *const headers[] = {"Basic YTpi", "basic YTpi", "BASIC YTpi", "bAsIc    YTpi",
                                          "Basic YTpi  "};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        assert_int_equal(read_header(headers[i]), CREDENTIALS_OK);
        assert_credentials("a", "b");
    }
}

static void both_halves_are_form_decoded(void **state)
{
    static const struct {
        const char *text;
        const char *id;
        const char *secret;
    } cases[] = {
        {"a:jot_Abc123", "a", "jot_Abc123"},               /* raw, as Authlib sends it */
        {"a%2D%5F%2E%7Eb:jot%5Fabc", "a-_.~b", "jot_abc"}, /* as oauth4webapi sends it */
        {"a%3Ab:c", "a:b", "c"},
        {"a:b:c", "a", "b:c"},
        {"a+b:c%2B+d", "a b", "c+ d"},
        {"a:\xff%C0", "a", "\xff\xc0"}, /* not UTF-8: the comparison rejects it */
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(read_text(cases[i].text), CREDENTIALS_OK);
        assert_credentials(cases[i].id, cases[i].secret);
    }
}

static void broken_base64_is_malformed(void **state)
{
    static const char *const headers[] = {"Basic",           "Basic ",
                                          "Basic    ",       "Basic YTpi=",
                                          "Basic YTp",       "Basic YTo9YTo",
                                          "Basic YTpiYw=",   "Basic YTpiYw",
                                          "Basic YTpi====",  "Basic Y===",
                                          "Basic ====",      "Basic YTpiYw==YQ",
                                          "Basic YT=pYmM",   "Basic YT pi",
                                          "Basic YTpi YTpi", "Basic YTpi\tYTp",
                                          "Basic YTp\n",     "Basic YTp-",
                                          "Basic YTp_",      "Basic \tYTp",
                                          "Basic YTp\xe9",   "Basic YTpi,YTp",
                                          "Basic YTpi----",  "Basic YTpi\n\n\n\n",
                                          "Basic YTpiY===",  "Basic \t\t\t\tYTpi"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(headers); i++) {
        memset(credentials.basic, 'x', sizeof(credentials.basic)); /* as an earlier use leaves it */
        assert_int_equal(read_header(headers[i]), CREDENTIALS_MALFORMED);
    }
}

static void broken_credentials_are_malformed(void **state)
{
    static const char *const texts[] = {"abc",  "a%3Ab",  "a%zz:b", "a:b%zz",
                                        "a:b%", "a%4:1b", "a:b%00", "%00a:b"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(read_text(texts[i]), CREDENTIALS_MALFORMED);
    assert_int_equal(read_header("Basic YQA6Yg=="), CREDENTIALS_MALFORMED); /* a, NUL, :b */
}

static void control_characters_are_named(void **state)
{
    static const char *const texts[] = {"a\n:b",  "a:b\x7f", "a:b\tc", "a%0D:b",
                                        "a:b%7F", "a:%1f",   ":\n",    "a:b\n"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_int_equal(read_text(texts[i]), CREDENTIALS_CONTROL);
}

static void basic_without_id_or_secret_is_no_credentials(void **state)
{
    (void)state;
    assert_int_equal(read_text(":b"), CREDENTIALS_NONE);
    assert_int_equal(read_text("a:"), CREDENTIALS_NONE);
    assert_int_equal(read_text(":"), CREDENTIALS_NONE);
}

static void basic_is_bounded(void **state)
{
    struct slice none = SLICE("");
    char header[6 + CREDENTIALS_BASIC_MAX + 5];
    char text[CREDENTIALS_BASIC_MAX / 4 * 3];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[0] = 'a';
    text[1] = ':';
    memcpy(header, "Basic ", 6);
    EVP_EncodeBlock((unsigned char *)header + 6, (unsigned char *)text, sizeof(text));
    assert_int_equal(credentials_read((struct slice){header, 6 + CREDENTIALS_BASIC_MAX}, none, none,
                                      &credentials),
                     CREDENTIALS_OK);
    assert_int_equal(credentials.secret.length, sizeof(text) - 2);

    memcpy(header + 6 + CREDENTIALS_BASIC_MAX, "eHg=", 4);
    for (size_t more = 1; more <= 4; more++) {
        struct slice longer = {header, 6 + CREDENTIALS_BASIC_MAX + more};

        assert_int_equal(credentials_read(longer, none, none, &credentials), CREDENTIALS_MALFORMED);
    }
}

static void body_and_header_are_weighed(void **state)
{
    static const struct {
        const char *authorization; /* Basic YTpi is a:b */
        const char *id;
        const char *secret;
        enum credentials_error expected;
    } cases[] = {
        {"", "a", "b", CREDENTIALS_OK},
        {"", "", "", CREDENTIALS_NONE},
        {"", "a", "", CREDENTIALS_NONE},
        {"", "", "b", CREDENTIALS_NONE},
        {"Basic YTpi", "a", "", CREDENTIALS_OK},
        {"Basic YTpi", "c", "", CREDENTIALS_TWO_METHODS},
        {"Basic YTpi", "aa", "", CREDENTIALS_TWO_METHODS},
        {"Basic YTpi", "", "b", CREDENTIALS_TWO_METHODS},
        {"Basic YTpi", "a", "b", CREDENTIALS_TWO_METHODS},
        {"Basic", "a", "b", CREDENTIALS_TWO_METHODS},
        {"Basic", "a", "", CREDENTIALS_MALFORMED},
        {"Bearer YTpi", "", "", CREDENTIALS_NONE},
        {"Bearer YTpi", "a", "", CREDENTIALS_NONE},
        {"Bearer YTpi", "a", "b", CREDENTIALS_TWO_METHODS},
        {"BasicYTpi", "", "", CREDENTIALS_NONE},
        {"Basics YTpi", "", "", CREDENTIALS_NONE},
        {"Basi", "", "", CREDENTIALS_NONE},
        {" ", "", "", CREDENTIALS_NONE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(read_both(cases[i].authorization, cases[i].id, cases[i].secret),
                         cases[i].expected);
        if (cases[i].expected == CREDENTIALS_OK)
            assert_credentials("a", "b");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfcs_are_read),
        cmocka_unit_test(the_header_may_be_written_in_several_ways),
        cmocka_unit_test(both_halves_are_form_decoded),
        cmocka_unit_test(broken_base64_is_malformed),
        cmocka_unit_test(broken_credentials_are_malformed),
        cmocka_unit_test(control_characters_are_named),
        cmocka_unit_test(basic_without_id_or_secret_is_no_credentials),
        cmocka_unit_test(basic_is_bounded),
        cmocka_unit_test(body_and_header_are_weighed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
