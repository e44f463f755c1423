/* auth/token/denylist: what is in it, for how long, and readers beside the writer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "auth/token/denylist.h"
#include "common/clock.h"

#define NOW 1800000000

static struct denylist denylist;

static int set_up(void **state)
{
    (void)state;
    denylist = (struct denylist){0};
    assert_true(denylist_open(&denylist));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    denylist_close(&denylist);
    return 0;
}

/* A jti made at `second`. */
static struct uuid jti_of(uint64_t number, int64_t second)
{
    struct uuid jti = {{0}};
    int64_t ms = second * 1000;

    for (int i = 0; i != 6; ++i)
        jti.bytes[i] = (unsigned char)(ms >> (8 * (5 - i)));
    jti.bytes[6] = 0x70;
    memcpy(jti.bytes + 8, &number, sizeof(number));
    return jti;
}

static bool add(uint64_t number, int64_t expires_at, int64_t now)
{
    struct uuid jti = jti_of(number, NOW - 10);

    return denylist_add(&denylist, &jti, expires_at, now);
}

static bool has(uint64_t number)
{
    struct uuid jti = jti_of(number, NOW - 10);

    return denylist_has(&denylist, &jti);
}

static void has_what_was_added(void **state)
{
    (void)state;
    assert_false(has(1));
    for (uint64_t i = 0; i != 10000; ++i)
        assert_true(add(i, NOW + 100, NOW));
    for (uint64_t i = 0; i != 10000; ++i)
        assert_true(has(i));
    for (uint64_t i = 10000; i != 30000; ++i)
        assert_false(has(i));
    assert_true(add(5, NOW + 200, NOW)); /* once more */
    assert_int_equal(denylist.used, 10000);
    assert_int_equal(denylist.live, 10000);
}

static void forgets_what_has_expired(void **state)
{
    (void)state;
    assert_true(add(0, NOW, NOW)); /* already */
    assert_false(has(0));
    for (uint64_t i = 1; i != 1000; ++i)
        assert_true(add(i, NOW + (i % 2 == 0 ? 50 : 100), NOW));
    denylist_sweep(&denylist, NOW + 50);
    assert_int_equal(denylist.live, 500);
    for (uint64_t i = 1; i < 1000; i += 2)
        assert_true(has(i));
    denylist_sweep(&denylist, NOW + 100);
    assert_int_equal(denylist.live, 0);
    assert_int_equal(denylist.used, 0);
    assert_false(has(1));
}

/* Revocations come and go for longer than there are slots. */
static void does_not_fill_up_with_what_has_expired(void **state)
{
    uint64_t number = 0;

    (void)state;
    for (int64_t second = 0; second != 60; ++second) {
        for (int i = 0; i != 40000; ++i)
            assert_true(add(number++, NOW + second + 5, NOW + second));
        if (second % 10 == 9)
            denylist_sweep(&denylist, NOW + second);
    }
    assert_true(number > DENYLIST_SLOTS);
    assert_true(has(number - 1));
    assert_false(atomic_load(&denylist.full));
    assert_true(denylist.used < DENYLIST_SLOTS / 2);
}

/* No token lives longer than a day, counted from its jti, whatever expiry it is given. */
static void keeps_nothing_for_much_longer_than_a_day(void **state)
{
    struct uuid old = jti_of(1, NOW - 100000), early = jti_of(2, NOW + 1000000);

    (void)state;
    assert_true(denylist_add(&denylist, &old, INT64_MAX, NOW));
    assert_false(denylist_has(&denylist, &old));
    assert_true(denylist_add(&denylist, &early, INT64_MAX, NOW));
    assert_true(denylist_has(&denylist, &early));
    denylist_sweep(&denylist, NOW + 100000);
    assert_false(denylist_has(&denylist, &early));
}

static void says_when_it_is_full(void **state)
{
    (void)state;
    for (uint64_t i = 0; i != DENYLIST_MAX; ++i)
        assert_true(add(i, NOW + 100, NOW));
    assert_false(atomic_load(&denylist.full));
    assert_false(add(DENYLIST_MAX, NOW + 100, NOW));
    assert_true(atomic_load(&denylist.full));
    assert_true(has(0));
    assert_true(has(DENYLIST_MAX - 1));
    denylist_sweep(&denylist, NOW + 100);
    assert_true(add(DENYLIST_MAX, NOW + 200, NOW + 100));
    assert_true(has(DENYLIST_MAX));
}

static void is_current_while_it_is_complete(void **state)
{
    (void)state;
    assert_false(denylist_is_current(&denylist, 1000));
    atomic_store(&denylist.complete_ms, clock_monotonic_ms());
    assert_true(denylist_is_current(&denylist, 1000000));
    atomic_store(&denylist.full, true);
    assert_false(denylist_is_current(&denylist, 1000000));
    atomic_store(&denylist.full, false);
    atomic_store(&denylist.complete_ms, clock_monotonic_ms() - 2000);
    assert_false(denylist_is_current(&denylist, 1000));
}

#define STEADY 1000 /* numbers that are in it all the time */

static atomic_bool stopping;
static atomic_size_t missed_by_readers;

static void *read_all(void *data)
{
    size_t missed = 0;

    (void)data;
    while (!atomic_load(&stopping)) {
        for (uint64_t i = 0; i != STEADY; ++i)
            missed += !has(i);
        for (uint64_t i = 0; i != STEADY; ++i)
            missed += has(UINT64_MAX - i); /* never added */
    }
    atomic_fetch_add(&missed_by_readers, missed);
    return NULL;
}

/* The writer reuses and empties the slots around the steady ones. */
static void readers_never_miss_anything(void **state)
{
    pthread_t readers[2];
    uint64_t number = STEADY;

    (void)state;
    atomic_store(&stopping, false);
    for (uint64_t i = 0; i != STEADY; ++i)
        assert_true(add(i, NOW + 80000, NOW));
    for (size_t i = 0; i != 2; ++i)
        assert_int_equal(pthread_create(&readers[i], NULL, read_all, NULL), 0);
    for (int64_t second = 0; second != 20; ++second) {
        for (int i = 0; i != 20000; ++i)
            assert_true(add(number++, NOW + second + 2, NOW + second));
        denylist_sweep(&denylist, NOW + second);
    }
    atomic_store(&stopping, true);
    for (size_t i = 0; i != 2; ++i)
        assert_int_equal(pthread_join(readers[i], NULL), 0);
    assert_int_equal(missed_by_readers, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(has_what_was_added, set_up, tear_down),
        cmocka_unit_test_setup_teardown(forgets_what_has_expired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_not_fill_up_with_what_has_expired, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keeps_nothing_for_much_longer_than_a_day, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(says_when_it_is_full, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_current_while_it_is_complete, set_up, tear_down),
        cmocka_unit_test_setup_teardown(readers_never_miss_anything, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
