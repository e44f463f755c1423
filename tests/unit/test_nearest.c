/* common/nearest: the name that a mistyped one was meant to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/attributes.h"
#include "common/nearest.h"

/* One of "tier", "time" and "per-hour"; NULL: too far from all of them. */
static const char *meant(const char *typed)
{
    static const char *const known[] = {"tier", "time", "per-hour"};
    struct nearest nearest = {0};

    for (size_t i = 0; i != COUNT_OF(known); ++i)
        nearest_try(&nearest, typed, known[i]);
    return nearest_is_near(&nearest) ? nearest.name : NULL;
}

static void test_the_nearest_wins_not_the_first(void **state)
{
    (void)state;
    assert_string_equal(meant("tier"), "tier");
    assert_string_equal(meant("tiem"), "tier"); /* equally far from both: the first one */
    assert_string_equal(meant("times"), "time");
    assert_string_equal(meant("tim"), "time");
    assert_string_equal(meant("perhours"), "per-hour");
}

static void test_what_is_far_is_none_of_them(void **state)
{
    (void)state;
    assert_null(meant("frobnicate"));
    assert_null(meant(""));
    assert_false(nearest_is_near(&(struct nearest){0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_nearest_wins_not_the_first),
        cmocka_unit_test(test_what_is_far_is_none_of_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
