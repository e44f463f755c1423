/* common/integer: numbers to decimal text and back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/integer.h"

static void test_there_and_back(void **state)
{
    static const long long numbers[] = {0, 7, -7, 10, 99, -100, INT64_MAX, INT64_MIN};

    (void)state;
    for (size_t i = 0; i != sizeof(numbers) / sizeof(numbers[0]); ++i) {
        char text[INTEGER_LENGTH_MAX + 1] = "";
        long long again = 1;

        text[integer_write(numbers[i], text)] = '\0';
        assert_true(integer_parse(text, INT64_MIN, INT64_MAX, &again));
        assert_int_equal(again, numbers[i]);
    }
}

static void test_bounds(void **state)
{
    long long number;

    (void)state;
    assert_true(integer_parse("5", 5, 5, &number));
    assert_false(integer_parse("4", 5, 9, &number));
    assert_false(integer_parse("10", 5, 9, &number));
    assert_false(integer_parse("9223372036854775808", INT64_MIN, INT64_MAX, &number));
}

static void test_only_digits(void **state)
{
    static const char *const refused[] = {"",    "-",   "+1",  " 1",  "1 ", "1x",
                                          "0x1", "--1", "1.0", "1e3", "-0", "\n1"};
    long long number;

    (void)state;
    for (size_t i = 0; i != sizeof(refused) / sizeof(refused[0]); ++i)
        assert_false(integer_parse(refused[i], 0, 10, &number));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_only_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
