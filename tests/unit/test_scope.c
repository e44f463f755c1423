/* Scope values: auth/scope.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/scope.h"

static void lists_of_tokens_are_valid(void **state)
{
    static const char *const scopes[] = {"a", "read write", "a:b/c#d'e", "!",
                                         "~", "[",          "]",         "a a a"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(scopes); i++)
        assert_true(scope_is_valid(slice_of(scopes[i])));
}

static void all_else_is_not_valid(void **state)
{
    static const char *const scopes[] = {"",     " ",        " a",    "a ",    "a  b",
                                         "a\tb", "a\"b",     "a\\b",  "a\x7f", "\x1f",
                                         "a\nb", "\xc3\xa9", "a\xff", "\" a"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(scopes); i++)
        assert_false(scope_is_valid(slice_of(scopes[i])));
    assert_false(scope_is_valid((struct slice){"a\0b", 3}));
    assert_false(scope_is_valid((struct slice){NULL, 0}));
}

static void every_token_asked_must_be_allowed(void **state)
{
    static const struct {
        const char *asked;
        const char *allowed;
        bool expected;
    } cases[] = {
        {"read", "read", true},        {"write read", "read write admin", true},
        {"read read", "read", true},   {"read", "", false},
        {"read write", "read", false}, {"read admin", "read write", false},
        {"rea", "read", false},        {"read", "rea", false},
        {"ead", "read", false},        {"Read", "read", false},
        {"a", "aa a", true},           {"a", "aa ba ab", false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(scope_is_subset(slice_of(cases[i].asked), slice_of(cases[i].allowed)),
                         cases[i].expected);
}

static void repeats_go_and_order_stays(void **state)
{
    static const struct {
        const char *asked;
        const char *expected;
    } cases[] = {
        {"a", "a"},         {"a a", "a"},          {"b a b", "b a"},
        {"a b c", "a b c"}, {"aa a aa a", "aa a"}, {"a aa a aaa aa", "a aa aaa"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[32];
        size_t length = scope_without_repeats(slice_of(cases[i].asked), out);

        assert_int_equal(length, strlen(cases[i].expected));
        assert_memory_equal(out, cases[i].expected, length);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_tokens_are_valid),
        cmocka_unit_test(all_else_is_not_valid),
        cmocka_unit_test(every_token_asked_must_be_allowed),
        cmocka_unit_test(repeats_go_and_order_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
