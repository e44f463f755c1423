/* common/log: text and JSON lines, levels, escapes, and a reader that does not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

static int saved_stderr, ends[2];

/* Makes stderr a pipe that the test reads. */
static int set_up(void **state)
{
    (void)state;
    saved_stderr = dup(STDERR_FILENO);
    if (pipe2(ends, O_NONBLOCK) != 0)
        return -1;
    fcntl(ends[1], F_SETFL, 0); /* blocking, as a log's pipe is */
    return dup2(ends[1], STDERR_FILENO) == STDERR_FILENO ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(ends[0]);
    close(ends[1]);
    return 0;
}

static const char *written(void)
{
    static char text[4096];
    ssize_t length = read(ends[0], text, sizeof(text) - 1);

    text[length > 0 ? length : 0] = '\0';
    return text;
}

static void writes_text(void **state)
{
    const char *line;

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_info("ledger.flushed", log_int("rows", 1000), log_str("plain", "a:b/c"),
             log_str("quoted", "two words \"x\"\n"), log_str("empty", NULL));
    line = written();
    assert_non_null(strstr(line, "Z info  event=ledger.flushed rows=1000 plain=a:b/c "
                                 "quoted=\"two words \\\"x\\\"\\u000a\" empty=\"\"\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void writes_json(void **state)
{
    json_t *line;

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
    log_warn("pg.lost", log_str("reason", "\xff \"quoted\""), log_int("ms", -5));
    line = json_loads(written(), 0, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(line, "event")), "pg.lost");
    assert_string_equal(json_string_value(json_object_get(line, "reason")),
                        "\xef\xbf\xbd \"quoted\"");
    assert_int_equal(json_integer_value(json_object_get(line, "ms")), -5);
    json_decref(line);
}

static void leaves_out_what_is_below_the_level(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_WARN, LOG_FORMAT_TEXT);
    log_info("left.out", log_int("n", 1));
    log_debug("left.out", log_int("n", 2));
    assert_string_equal(written(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("written", log_int("n", 3));
    assert_non_null(strstr(written(), "event=written n=3"));
}

static void cuts_long_values(void **state)
{
    char value[2000];

    (void)state;
    memset(value, 'x', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    log_info("long", log_str("value", value));
    assert_int_equal(strlen(strstr(written(), "value=")), strlen("value=") + 512 + 1);
}

/* Reads one line, for at most 20 s, without its newline. */
static void read_line(char line[4096])
{
    struct pollfd end = {.fd = ends[0], .events = POLLIN};
    size_t size = 0;

    for (;;) {
        assert_true(size != 4095);
        assert_int_equal(poll(&end, 1, 20000), 1);
        assert_int_equal(read(ends[0], line + size, 1), 1);
        if (line[size] == '\n')
            break;
        ++size;
    }
    line[size] = '\0';
}

#define FLOOD 20000 /* lines, far more than a pipe and the queue can hold */

/* Reads until `expected` lines were written or reported as dropped; returns how many were dropped.
 * Each part of the queue that the thread takes may end with a count of its own. */
static unsigned read_flood(unsigned expected)
{
    unsigned lines = 0, dropped = 0;
    char line[4096];

    while (lines + dropped < expected) {
        const char *report;
        unsigned count;

        read_line(line);
        report = strstr(line, "event=log.dropped");
        if (report == NULL) {
            assert_non_null(strstr(line, "event=flood"));
            ++lines;
        } else {
            assert_int_equal(sscanf(report, "event=log.dropped lines=%u", &count), 1);
            dropped += count;
        }
    }
    assert_int_equal(lines + dropped, expected);
    return dropped;
}

static void does_not_wait_for_a_reader(void **state)
{
    uint64_t before = log_dropped();
    unsigned dropped;
    char line[4096];

    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    assert_true(log_start());
    for (int i = 0; i != FLOOD; ++i)
        log_info("flood", log_int("n", i));
    dropped = read_flood(FLOOD);
    assert_true(dropped > 0);
    assert_int_equal(log_dropped() - before, dropped);
    log_info("after", log_int("n", 1));
    read_line(line);
    assert_non_null(strstr(line, "event=after"));
    log_stop(20000);
}

static void writes_the_rest_when_it_is_stopped(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    assert_true(log_start());
    for (int i = 0; i != 20; ++i)
        log_info("line", log_int("n", i));
    log_info("last", log_int("n", 20));
    log_stop(20000);
    assert_non_null(strstr(written(), "event=last n=20"));
    log_info("direct", log_int("n", 21));
    assert_non_null(strstr(written(), "event=direct"));
}

static void stops_without_a_reader(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
    assert_true(log_start());
    for (int i = 0; i != FLOOD; ++i)
        log_info("flood", log_int("n", i));
    log_stop(50);
    log_info("after", log_int("n", 1)); /* is dropped */
    read_flood(FLOOD + 1);
    log_stop(20000);
    assert_string_equal(written(), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_text, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_out_what_is_below_the_level, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cuts_long_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(does_not_wait_for_a_reader, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_the_rest_when_it_is_stopped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(stops_without_a_reader, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
