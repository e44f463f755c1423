/* auth/quota/windows: the limiter without Redis, compared with all earlier grants. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>
#include <string.h>

#include "auth/quota/windows.h"

#define START  1767225600000 /* 2026-01-01: all slots and a month begin */
#define MINUTE 60000
#define HOUR   3600000
#define DAY    86400000ll

static int64_t take(struct windows *windows, const struct quota *quota, int64_t asked,
                    int64_t now_ms)
{
    struct quota_left left;

    return windows_take(windows, quota, asked, now_ms, &left);
}

static void grants_up_to_the_limit_and_no_more(void **state)
{
    struct quota quota = {{20, 200, 5000}};
    struct windows windows = {0};
    struct quota_left left;

    (void)state;
    assert_int_equal(windows_take(&windows, &quota, 0, START, &left), 0);
    assert_int_equal(left.remaining[QUOTA_MINUTE], 20);
    assert_int_equal(left.reset_in_ms[QUOTA_MINUTE], 0);
    assert_int_equal(windows_take(&windows, &quota, 15, START, &left), 15);
    assert_int_equal(left.remaining[QUOTA_MINUTE], 5);
    assert_int_equal(left.remaining[QUOTA_HOUR], 185);
    assert_int_equal(left.remaining[QUOTA_MONTH], 4985);
    assert_int_equal(left.reset_in_ms[QUOTA_MINUTE], MINUTE + 5000);
    assert_int_equal(left.reset_in_ms[QUOTA_HOUR], HOUR + 300000);
    assert_int_equal(left.reset_in_ms[QUOTA_MONTH], 31 * DAY);
    assert_int_equal(take(&windows, &quota, 15, START + 4999), 5);
    assert_int_equal(take(&windows, &quota, 1, START + MINUTE + 4999), 0);
    assert_int_equal(take(&windows, &quota, 100, START + MINUTE + 5000), 20);
}

static void ends_a_month_with_the_calendar(void **state)
{
    struct quota quota = {{0, 0, 10}};
    struct windows windows = {0};

    (void)state;
    assert_int_equal(take(&windows, &quota, 20, START), 10);
    assert_int_equal(take(&windows, &quota, 20, START + 31 * DAY - 1), 0);
    assert_int_equal(take(&windows, &quota, 20, START + 31 * DAY), 10);
    assert_int_equal(take(&windows, &quota, 20, START + (31 + 28) * DAY - 1), 0);
    assert_int_equal(take(&windows, &quota, 20, START + (31 + 28) * DAY), 10);
}

static void takes_all_windows_or_none(void **state)
{
    struct quota quota = {{100, 5, 0}};
    struct windows windows = {0};
    struct quota_left left;

    (void)state;
    assert_int_equal(take(&windows, &quota, 50, START), 5);
    assert_int_equal(windows_take(&windows, &quota, 50, START, &left), 0);
    assert_int_equal(left.remaining[QUOTA_MINUTE], 95);
    assert_int_equal(quota_binding(&quota, &left), QUOTA_HOUR);
}

static void survives_a_clock_that_is_set(void **state)
{
    struct quota quota = {{10, 0, 0}};
    struct windows windows = {0};

    (void)state;
    assert_int_equal(take(&windows, &quota, 10, START + HOUR), 10);
    assert_int_equal(take(&windows, &quota, 1, START + HOUR - 30000), 0);
    assert_int_equal(take(&windows, &quota, 1, START + HOUR + MINUTE + 4999), 0);
    assert_int_equal(take(&windows, &quota, 20, START + HOUR + MINUTE + 5000), 10);
    /* Far in the past: nobody is refused because of a wrong clock. */
    assert_int_equal(take(&windows, &quota, 20, START - 100 * DAY), 10);
}

static void waits_until_enough_has_left_when_a_limit_is_lowered(void **state)
{
    struct quota wide = {{10, 0, 0}}, narrow = {{2, 0, 0}};
    struct windows windows = {0};
    struct quota_left left;

    (void)state;
    for (int slot = 0; slot != 10; ++slot)
        assert_int_equal(take(&windows, &wide, 1, START + slot * 5000), 1);
    assert_int_equal(windows_take(&windows, &narrow, 1, START + MINUTE, &left), 0);
    assert_int_equal(left.remaining[QUOTA_MINUTE], -8);
    /* After the ninth has left. */
    assert_int_equal(left.reset_in_ms[QUOTA_MINUTE], 8 * 5000 + 5000);
}

#define ASKS 20000

/* No span of a minute or an hour holds more than the limit, whatever is requested when, and a
 * client that waits as told gets one token. */
static void holds_in_every_span(void **state)
{
    static int64_t at_ms[ASKS], granted[ASKS];
    struct quota quota = {{7, 50, 0}};
    struct windows windows = {0};
    int64_t now_ms = START;
    size_t count = 0;

    (void)state;
    srandom(1);
    for (size_t i = 0; i != ASKS; ++i) {
        struct quota_left left;
        int64_t asked = random() % 4 + 1;

        now_ms += random() % 3 == 0 ? random() % 40000 : random() % 2000;
        at_ms[count] = now_ms;
        granted[count] = windows_take(&windows, &quota, asked, now_ms, &left);
        if (granted[count++] < asked && count < ASKS && random() % 50 == 0) {
            enum quota_window window = quota_binding(&quota, &left);

            now_ms += left.reset_in_ms[window];
            assert_int_equal(take(&windows, &quota, 1, now_ms - 1), 0);
            at_ms[count] = now_ms;
            granted[count] = take(&windows, &quota, 1, now_ms);
            assert_int_equal(granted[count++], 1);
            ++i;
        }
    }
    for (size_t end = 0; end != count; ++end) {
        int64_t minute = 0, hour = 0;

        for (size_t i = end + 1; i-- != 0 && at_ms[i] > at_ms[end] - HOUR;) {
            hour += granted[i];
            minute += at_ms[i] > at_ms[end] - MINUTE ? granted[i] : 0;
        }
        assert_in_range(minute, 0, 7);
        assert_in_range(hour, 0, 50);
    }
}

static void says_what_the_policy_is(void **state)
{
    struct quota all = {{20, 200, 5000}}, none = {{0, 0, 0}},
                 largest = {{1000000000000, 1000000000000, 1000000000000}};
    char text[QUOTA_POLICY_MAX];

    (void)state;
    assert_int_equal(quota_policy(&all, text), 55);
    assert_string_equal(text, "\"minute\";q=20;w=60, \"hour\";q=200;w=3600, \"month\";q=5000");
    assert_int_equal(quota_policy(&none, text), 0);
    assert_true(quota_policy(&largest, text) < QUOTA_POLICY_MAX);
    assert_true(quota_is_unlimited(&none));
    assert_false(quota_is_unlimited(&all));
}

static void binds_by_the_window_that_keeps_one_waiting_longest(void **state)
{
    struct quota quota = {{10, 100, 1000}};
    struct quota_left left = {.remaining = {0, -5, 3}, .reset_in_ms = {55000, 3000, 99000}};

    (void)state;
    assert_int_equal(quota_binding(&quota, &left), QUOTA_MINUTE);
    left.reset_in_ms[QUOTA_HOUR] = 56000;
    assert_int_equal(quota_binding(&quota, &left), QUOTA_HOUR);
    left = (struct quota_left){.remaining = {5, 4, 3}, .reset_in_ms = {1, 1, 1}};
    assert_int_equal(quota_binding(&quota, &left), QUOTA_MONTH);
    quota.limits[QUOTA_MONTH] = 0;
    assert_int_equal(quota_binding(&quota, &left), QUOTA_HOUR);
}

static void knows_when_little_is_left(void **state)
{
    (void)state;
    assert_false(quota_is_near_limit(20, 4));
    assert_true(quota_is_near_limit(20, 3));
    assert_true(quota_is_near_limit(1, 0));
    assert_true(quota_is_near_limit(1000000000000, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_up_to_the_limit_and_no_more),
        cmocka_unit_test(ends_a_month_with_the_calendar),
        cmocka_unit_test(takes_all_windows_or_none),
        cmocka_unit_test(survives_a_clock_that_is_set),
        cmocka_unit_test(waits_until_enough_has_left_when_a_limit_is_lowered),
        cmocka_unit_test(holds_in_every_span),
        cmocka_unit_test(says_what_the_policy_is),
        cmocka_unit_test(binds_by_the_window_that_keeps_one_waiting_longest),
        cmocka_unit_test(knows_when_little_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
