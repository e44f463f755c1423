/* common/prometheus and common/histogram: buckets, sums over writers, and the exposition format. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/prometheus.h"

static const char *text_of(struct buffer *text)
{
    *buffer_reserve(text, 1) = '\0';
    return text->bytes;
}

static void writes_histograms_with_cumulative_buckets(void **state)
{
    struct histogram first = {0}, second = {0}, total = {0};
    struct buffer text = {0};

    (void)state;
    histogram_observe(&first, 50); /* a bound belongs to its bucket */
    histogram_observe(&first, 51);
    histogram_observe(&second, 2000000); /* past the last bound */
    histogram_merge(&total, &first);
    histogram_merge(&total, &second);
    prometheus_histogram(&text, "x_seconds", "a=\"b\"", &total);
    assert_non_null(strstr(text_of(&text), "x_seconds_bucket{a=\"b\",le=\"5e-05\"} 1\n"));
    assert_non_null(strstr(text.bytes, "x_seconds_bucket{a=\"b\",le=\"0.0001\"} 2\n"));
    assert_non_null(strstr(text.bytes, "x_seconds_bucket{a=\"b\",le=\"1\"} 2\n"));
    assert_non_null(strstr(text.bytes, "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(text.bytes, "x_seconds_sum{a=\"b\"} 2.000101\n"));
    assert_non_null(strstr(text.bytes, "x_seconds_count{a=\"b\"} 3\n"));
    buffer_dispose(&text);
}

static void writes_families_and_values(void **state)
{
    struct counter counter = {0};
    struct buffer text = {0};

    (void)state;
    counter_add(&counter, 2);
    counter_add(&counter, 3);
    prometheus_family(&text, "y_total", "counter", "What it counts.");
    prometheus_value(&text, "y_total", "", counter_read(&counter));
    prometheus_value(&text, "y_total", "code=\"200\"", 7);
    assert_string_equal(text_of(&text), "# HELP y_total What it counts.\n# TYPE y_total counter\n"
                                        "y_total 5\ny_total{code=\"200\"} 7\n");
    buffer_dispose(&text);
}

static void knows_the_process(void **state)
{
    struct buffer text = {0};
    const char *start;

    (void)state;
    prometheus_process_update();
    prometheus_process(&text);
    start = strstr(text_of(&text), "\nprocess_start_time_seconds ");
    assert_non_null(start);
    assert_true(strtod(start + strlen("\nprocess_start_time_seconds "), NULL) > 1.6e9);
    assert_non_null(strstr(text.bytes, "\nprocess_resident_memory_bytes "));
    assert_non_null(strstr(text.bytes, "\nprocess_open_fds "));
    buffer_dispose(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_histograms_with_cumulative_buckets),
        cmocka_unit_test(writes_families_and_values),
        cmocka_unit_test(knows_the_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
