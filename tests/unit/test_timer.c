/* common/timer and common/watch on a real loop: order, stop, restart, foreign descriptors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/timer.h"

static h2o_loop_t *loop;
static struct timers timers;
static char fired[64];

struct named_timer {
    struct timer timer;
    char name;
    struct named_timer *starts, *stops;
};

static void on_time(struct timer *timer)
{
    struct named_timer *named = H2O_STRUCT_FROM_MEMBER(struct named_timer, timer, timer);

    assert_false(timer_is_running(timer));
    strncat(fired, &named->name, 1);
    if (named->starts != NULL)
        timer_start(&timers, &named->starts->timer, 1);
    if (named->stops != NULL)
        timer_stop(&timers, &named->stops->timer);
}

static struct named_timer named(char name)
{
    return (struct named_timer){.timer.on_time = on_time, .name = name};
}

/* Runs the loop until `count` timers have fired, for at most 5 s. */
static void run_until(size_t count)
{
    uint64_t end_ms = clock_monotonic_ms() + 5000;

    while (strlen(fired) < count && clock_monotonic_ms() < end_ms)
        h2o_evloop_run(loop, 10);
    assert_int_equal(strlen(fired), count);
}

static int set_up(void **state)
{
    (void)state;
    fired[0] = '\0';
    loop = h2o_evloop_create();
    return timers_open(&timers, loop) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    timers_close(&timers);
    h2o_evloop_destroy(loop);
    return 0;
}

static void fires_in_order_of_time(void **state)
{
    struct named_timer a = named('a'), b = named('b'), c = named('c'), d = named('d');
    uint64_t started_ms = clock_monotonic_ms();

    (void)state;
    timer_start(&timers, &c.timer, 30);
    timer_start(&timers, &a.timer, 10);
    timer_start(&timers, &d.timer, 40);
    timer_start(&timers, &b.timer, 20);
    run_until(4);
    assert_string_equal(fired, "abcd");
    assert_true(clock_monotonic_ms() - started_ms >= 40);
}

static void stops_and_starts_again(void **state)
{
    struct named_timer a = named('a'), b = named('b'), c = named('c');

    (void)state;
    a.starts = &b;
    a.stops = &c;
    timer_start(&timers, &c.timer, 5);
    timer_start(&timers, &a.timer, 20);
    timer_start(&timers, &c.timer, 25); /* restarted */
    run_until(2);
    assert_string_equal(fired, "ab");
    assert_false(timer_is_running(&c.timer));
    timer_stop(&timers, &c.timer);
}

static int pipe_ends[2];
static int readable, writable;

static void on_ready(struct watch *watch)
{
    char byte;

    if (read(pipe_ends[0], &byte, 1) == 1)
        ++readable;
    watch_close(watch);
}

static void on_write_ready(struct watch *watch)
{
    ++writable;
    watch_close(watch);
}

static void watches_foreign_descriptors(void **state)
{
    struct watch reader = {.on_ready = on_ready}, writer = {.on_ready = on_write_ready};

    (void)state;
    assert_int_equal(pipe(pipe_ends), 0);
    assert_true(watch_open(&reader, loop, pipe_ends[0]));
    assert_true(watch_open(&writer, loop, pipe_ends[1]));
    watch_for_write(&writer);
    watch_for_write(&writer); /* a second call is harmless */
    assert_int_equal(write(pipe_ends[1], "x", 1), 1);
    for (int i = 0; i != 100 && (readable == 0 || writable == 0); ++i)
        h2o_evloop_run(loop, 10);
    assert_int_equal(readable, 1);
    assert_int_equal(writable, 1);
    assert_null(reader.socket);
    watch_close(&reader);
    /* The watch closed only its duplicate. */
    assert_int_equal(write(pipe_ends[1], "y", 1), 1);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fires_in_order_of_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_and_starts_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(watches_foreign_descriptors, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
