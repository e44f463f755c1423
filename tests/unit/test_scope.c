/* auth/client/scope: scope values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/client/scope.h"

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

/* Returns the granted scope, or "no". */
static const char *grant(const char *asked, const char *allowed)
{
    static char out[SCOPE_MAX + 1];
    static struct slice tokens[SCOPE_TOKENS_MAX];
    size_t length;

    scope_sort(slice_of(allowed), tokens);
    if (!scope_grant(slice_of(asked), tokens, scope_count(slice_of(allowed)), out, &length))
        return "no";
    out[length] = '\0';
    return out;
}

static void grants_what_is_allowed(void **state)
{
    static const struct {
        const char *asked, *allowed, *granted;
    } cases[] = {
        {"read", "read", "read"},
        {"write read", "read write admin", "write read"},
        {"read", "", "no"},
        {"read write", "read", "no"},
        {"read admin", "read write", "no"},
        {"rea", "read", "no"},
        {"read", "rea", "no"},
        {"ead", "read", "no"},
        {"Read", "read", "no"},
        {"a", "aa a", "a"},
        {"a", "aa ba ab", "no"},
        {"", "a", ""},
        {"  ", "a", ""},
        {" b  a ", "a b", "b a"},
        {"a\tb", "a b", "no"},
        {"a a", "a a", "a"},
        {"b a b", "a b", "b a"},
        {"a aa a aaa aa", "aaa aa a", "a aa aaa"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(grant(cases[i].asked, cases[i].allowed), cases[i].granted);
}

static void grants_as_many_as_there_can_be(void **state)
{
    static const char tokens[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX";
    char scope[SCOPE_MAX + 1];

    (void)state;
    memset(scope, ' ', SCOPE_MAX);
    for (size_t i = 0; i < SCOPE_MAX; i += 2)
        scope[i] = tokens[i / 2 % 50];
    scope[SCOPE_MAX - 1] = '\0';
    assert_int_equal(scope_count(slice_of(scope)), SCOPE_TOKENS_MAX);
    assert_int_equal(strlen(grant(scope, scope)), 2 * 50 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_tokens_are_valid),
        cmocka_unit_test(all_else_is_not_valid),
        cmocka_unit_test(grants_what_is_allowed),
        cmocka_unit_test(grants_as_many_as_there_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
