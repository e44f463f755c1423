/* auth/client/client_rate: so many requests in a second, whoever else asks, and from any thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "auth/client/client_rate.h"

static struct client_rate rate;

static int set_up(void **state)
{
    (void)state;
    return client_rate_open(&rate, 1000) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    client_rate_close(&rate);
    return 0;
}

static size_t take(size_t count, uint64_t now_ms)
{
    size_t taken = 0;

    for (size_t i = 0; i != count; ++i)
        taken += client_rate_take(&rate, SLICE("a"), now_ms);
    return taken;
}

static void gives_each_second_its_share(void **state)
{
    (void)state;
    assert_int_equal(take(600, 5000), 600);
    assert_int_equal(take(600, 5999), 400);
    assert_int_equal(take(1, 5999), 0);
    assert_true(client_rate_take(&rate, SLICE("b"), 5999));
    assert_int_equal(take(1200, 6000), 1000);
    assert_int_equal(take(1, 5999), 0); /* a thread that is late */
}

static void *take_some(void *data)
{
    *(size_t *)data = take(2000, 9000);
    return NULL;
}

static void counts_over_all_threads(void **state)
{
    pthread_t threads[4];
    size_t taken[4];

    (void)state;
    for (size_t i = 0; i != 4; ++i)
        assert_int_equal(pthread_create(&threads[i], NULL, take_some, taken + i), 0);
    for (size_t i = 0; i != 4; ++i)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(taken[0] + taken[1] + taken[2] + taken[3], 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_each_second_its_share, set_up, tear_down),
        cmocka_unit_test_setup_teardown(counts_over_all_threads, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
