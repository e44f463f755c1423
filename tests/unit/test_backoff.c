/* common/backoff: pauses grow up to the bound, vary, and start over after a success. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/backoff.h"

static void pauses_grow_up_to_the_bound(void **state)
{
    struct backoff backoff = {.min_ms = 50, .max_ms = 2000};
    uint64_t expected_ms = 50;

    (void)state;
    assert_false(backoff_is_failing(&backoff));
    for (int i = 0; i != 20; ++i) {
        assert_in_range(backoff_pause_ms(&backoff), expected_ms / 2 + 1, expected_ms + 1);
        assert_true(backoff_is_failing(&backoff));
        expected_ms = expected_ms * 2 < 2000 ? expected_ms * 2 : 2000;
    }
    backoff_reset(&backoff);
    assert_false(backoff_is_failing(&backoff));
    assert_in_range(backoff_pause_ms(&backoff), 26, 51);
}

static void pauses_differ(void **state)
{
    uint64_t least_ms = UINT64_MAX, most_ms = 0;

    (void)state;
    for (int i = 0; i != 200; ++i) {
        struct backoff backoff = {.min_ms = 1000, .max_ms = 1000};
        uint64_t pause_ms = backoff_pause_ms(&backoff);

        least_ms = pause_ms < least_ms ? pause_ms : least_ms;
        most_ms = pause_ms > most_ms ? pause_ms : most_ms;
    }
    assert_true(most_ms - least_ms > 250);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pauses_grow_up_to_the_bound),
        cmocka_unit_test(pauses_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
