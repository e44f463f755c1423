/* common/time_text: compared with strftime over days, months and leap years, forwards and
 * backwards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/time_text.h"

static void assert_as_strftime(int64_t unix_ms)
{
    char expected[64], text[TIME_TEXT_LENGTH + 1] = "", short_text[TIME_TEXT_SIZE];
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm utc;

    strftime(expected, sizeof(expected), "%Y-%m-%d %H:%M:%S", gmtime_r(&seconds, &utc));
    snprintf(expected + 19, sizeof(expected) - 19, ".%03d", (int)(unix_ms % 1000));
    time_text_write(unix_ms, ' ', text);
    assert_string_equal(text, expected);
    expected[10] = 'T';
    strcpy(expected + 19, "Z");
    assert_string_equal(time_text_format(unix_ms, short_text), expected);
}

static void times_are_as_strftime_has_them(void **state)
{
    (void)state;
    assert_as_strftime(0);
    assert_as_strftime(86399999);
    assert_as_strftime(86400000);
    assert_as_strftime(1709164800123);   /* 2024-02-29 */
    assert_as_strftime(4102444800000);   /* 2100-01-01 */
    assert_as_strftime(253402300799999); /* the end of 9999 */
}

static void later_times_are_the_last_one(void **state)
{
    char text[TIME_TEXT_SIZE];

    (void)state;
    assert_string_equal(time_text_format(999999999999000, text), "9999-12-31T23:59:59Z");
}

/* The same day again, the next one, one that shares its cache slot, and back. */
static void days_may_come_in_any_order(void **state)
{
    int64_t day_ms = 86400000, now_ms = 1764424800000;

    (void)state;
    for (int i = -3; i != 4; ++i) {
        assert_as_strftime(now_ms);
        assert_as_strftime(now_ms + i * day_ms);
        assert_as_strftime(now_ms + 2 * i * day_ms + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_as_strftime_has_them),
        cmocka_unit_test(later_times_are_the_last_one),
        cmocka_unit_test(days_may_come_in_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
