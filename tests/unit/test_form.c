/* common/http/form: what a body contains, and what is rejected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "common/http/form.h"

static char body[4096]; /* the slices of the last parse point into it */
static struct form form;
static const char *const repeatable[] = {"resource", "audience", NULL};

static enum form_error parse_bytes(const char *bytes, size_t length)
{
    assert_true(length <= sizeof(body));
    memcpy(body, bytes, length);
    return form_parse(body, length, repeatable, &form);
}

static enum form_error parse(const char *text)
{
    return parse_bytes(text, strlen(text));
}

static void assert_is(struct slice value, const char *expected)
{
    assert_int_equal(value.length, strlen(expected));
    assert_memory_equal(value.bytes ? value.bytes : "", expected, value.length);
}

static void every_parameter_is_found(void **state)
{
    (void)state;
    assert_int_equal(parse("grant_type=client_credentials&scope=read+write&audience=a&client_id=i"
                           "&client_secret=s&resource=https%3A%2F%2Fapi.example%2F"),
                     FORM_OK);
    assert_is(form_get(&form, SLICE("grant_type")), "client_credentials");
    assert_is(form_get(&form, SLICE("scope")), "read write");
    assert_is(form_get(&form, SLICE("client_id")), "i");
    assert_is(form_get(&form, SLICE("client_secret")), "s");
    assert_is(form_get(&form, SLICE("resource")), "https://api.example/");
    assert_is(form_get(&form, SLICE("client")), "");
}

static void what_is_not_sent_is_empty(void **state)
{
    (void)state;
    assert_int_equal(form_parse(NULL, 0, repeatable, &form), FORM_OK);
    assert_is(form_get(&form, SLICE("grant_type")), "");
    assert_is(form_get(&form, SLICE("client_secret")), "");
    assert_int_equal(form.count, 0);
}

static void a_value_of_scope_is_read_as_it_should(void **state)
{
    static const struct {
        const char *body;
        const char *scope;
    } cases[] = {
        {"scope=a", "a"},
        {"scope=", ""},
        {"scope", ""},
        {"&&scope=a&", "a"},
        {"sc%6Fpe=a", "a"},
        {"scope=a=b", "a=b"},
        {"scope=a;client_id=b", "a;client_id=b"},
        {"scope=%26%3D%25%2B%20+", "&=%+  "},
        {"scope=%e2%82%AC", "\xe2\x82\xac"},
        {"scope=\xff%C0", "\xff\xc0"}, /* not UTF-8: later comparisons reject it */
        {"Scope=a", ""},
        {"scope%20=a", ""},
        {"x=1&y=2&scope=a&z", "a"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(parse(cases[i].body), FORM_OK);
        assert_is(form_get(&form, SLICE("scope")), cases[i].scope);
    }
}

static void appendix_b_of_rfc_6749_is_decoded(void **state)
{
    (void)state;
    assert_int_equal(parse("scope=+%25%26%2B%C2%A3%E2%82%AC"), FORM_OK);
    assert_is(form_get(&form, SLICE("scope")), " %&+\xc2\xa3\xe2\x82\xac");
}

static void broken_escapes_are_refused(void **state)
{
    static const char *const bodies[] = {"scope=%zz", "scope=%",   "scope=%4", "scope=%4&x=1",
                                         "scope=%4g", "scope=%g4", "x=%%41",   "x=%-1",
                                         "%zz=x",     "%",         "x=%+1"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        assert_int_equal(parse(bodies[i]), FORM_BAD_ESCAPE);
}

static void nul_bytes_are_refused(void **state)
{
    (void)state;
    assert_int_equal(parse("scope=a%00b"), FORM_NUL);
    assert_int_equal(parse("unknown=%00"), FORM_NUL);
    assert_int_equal(parse("%00=x"), FORM_NUL);
    assert_int_equal(parse_bytes("scope=a\0b", 9), FORM_NUL);
    assert_int_equal(parse_bytes("sc\0pe=a", 7), FORM_NUL);
    assert_int_equal(parse_bytes("scope=a\0", 8), FORM_NUL);
}

static void a_name_sent_twice_is_refused(void **state)
{
    static const char *const bodies[] = {
        "scope=a&scope=a",         "scope=&scope=a", "scope=a&scope", "scope&&scope",
        "client_id=a&client%5Fid", "x=1&y=2&x=3",    "=1&=2",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bodies); i++)
        assert_int_equal(parse(bodies[i]), FORM_DUPLICATE);
}

static void what_may_repeat_is_there_in_order(void **state)
{
    static const char *const names[] = {"resource", "resource", "x", "audience", "resource"};
    static const char *const values[] = {"b", "", "1", "a", ""};

    (void)state;
    assert_int_equal(parse("resource=b&resource=&x=1&audience=a&resource"), FORM_OK);
    assert_int_equal(form.count, COUNT_OF(names));
    for (size_t i = 0; i != COUNT_OF(names); ++i) {
        assert_is(form.parameters[i].name, names[i]);
        assert_is(form.parameters[i].value, values[i]);
    }
    assert_is(form_get(&form, SLICE("resource")), "b");
    assert_int_equal(parse("resource=b&x=1&x=2"), FORM_DUPLICATE);
}

static enum form_error parse_many(const char *format, int count)
{
    char text[sizeof(body)];
    size_t length = 0;

    for (int i = 0; i < count; i++)
        length += (size_t)snprintf(text + length, sizeof(text) - length, format, i);
    return parse_bytes(text, length);
}

static void parameters_are_bounded(void **state)
{
    (void)state;
    assert_int_equal(parse_many("p%d=x&", 64), FORM_OK);
    assert_int_equal(parse_many("p%d=x&", 65), FORM_TOO_MANY);
    assert_int_equal(parse_many("&&p%d=x&", 64), FORM_OK);
    assert_int_equal(parse_many("resource=r%d&", 64), FORM_OK);
    assert_int_equal(parse_many("resource=r%d&", 65), FORM_TOO_MANY);
}

static void nothing_past_the_end_is_read(void **state)
{
    static const char text[] = "scope=%4";

    (void)state;
    for (size_t length = 1; length < sizeof(text); length++) {
        char *exact = malloc(length); /* so that AddressSanitizer detects an overrun */

        memcpy(exact, text, length);
        assert_int_equal(form_parse(exact, length, repeatable, &form),
                         length < 7 ? FORM_OK : FORM_BAD_ESCAPE);
        free(exact);
    }
}

static void a_lone_value_is_decoded_in_place(void **state)
{
    char text[] = "a+b%2Bc";
    char broken[] = "a%2";
    size_t length;

    (void)state;
    assert_int_equal(form_decode(text, strlen(text), &length), FORM_OK);
    assert_is((struct slice){text, length}, "a b+c");
    assert_memory_equal(text + length, "\0\0\0", 3); /* nothing is left behind */
    assert_int_equal(form_decode(broken, strlen(broken), &length), FORM_BAD_ESCAPE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_parameter_is_found),
        cmocka_unit_test(what_is_not_sent_is_empty),
        cmocka_unit_test(a_value_of_scope_is_read_as_it_should),
        cmocka_unit_test(appendix_b_of_rfc_6749_is_decoded),
        cmocka_unit_test(broken_escapes_are_refused),
        cmocka_unit_test(nul_bytes_are_refused),
        cmocka_unit_test(a_name_sent_twice_is_refused),
        cmocka_unit_test(what_may_repeat_is_there_in_order),
        cmocka_unit_test(parameters_are_bounded),
        cmocka_unit_test(nothing_past_the_end_is_read),
        cmocka_unit_test(a_lone_value_is_decoded_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
