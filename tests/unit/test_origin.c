/* common/http/origin: lists of web origins. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/http/origin.h"

static void takes_origins_as_browsers_write_them(void **state)
{
    static const char *const lists[] = {
        "", "*", "https://a.example", "http://localhost:3000,https://a.example , https://[::1]:8"};

    (void)state;
    for (size_t i = 0; i != COUNT_OF(lists); ++i)
        assert_true(origin_list_is_valid(lists[i]));
}

static void refuses_everything_else(void **state)
{
    static const char *const lists[] = {"a.example",
                                        "https://",
                                        "https://a.example/",
                                        "https://A.example",
                                        "ftp://a.example",
                                        "https://a.example?",
                                        "https://*.example",
                                        "null",
                                        "https://a.example;https://b.example"};

    (void)state;
    for (size_t i = 0; i != COUNT_OF(lists); ++i)
        assert_false(origin_list_is_valid(lists[i]));
}

static void finds_the_whole_origin_only(void **state)
{
    static const char list[] = "https://a.example,https://b.example:8443";

    (void)state;
    assert_true(slice_equal(origin_list_find(list, SLICE("https://b.example:8443")),
                            SLICE("https://b.example:8443")));
    assert_int_equal(origin_list_find(list, SLICE("https://b.example")).length, 0);
    assert_int_equal(origin_list_find(list, SLICE("https://a.example.evil")).length, 0);
    assert_int_equal(
        origin_list_find(list, SLICE("https://a.example,https://b.example:8443")).length, 0);
    assert_int_equal(origin_list_find(list, SLICE("")).length, 0);
    assert_true(slice_equal(origin_list_find("*", SLICE("null")), SLICE("*")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_origins_as_browsers_write_them),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(finds_the_whole_origin_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
