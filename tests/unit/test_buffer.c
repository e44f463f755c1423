/* common/buffer: growth and JSON escapes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>

#include "common/buffer.h"

static void assert_bytes(const struct buffer *buffer, const char *expected)
{
    assert_int_equal(buffer->size, strlen(expected));
    assert_memory_equal(buffer->bytes, expected, buffer->size);
}

static void grows_and_keeps_its_memory(void **state)
{
    struct buffer buffer = {0};
    size_t capacity;

    (void)state;
    for (int i = 0; i != 10000; ++i)
        buffer_printf(&buffer, "%d,", i % 10);
    assert_int_equal(buffer.size, 20000);
    assert_memory_equal(buffer.bytes + 19996, "8,9,", 4);
    capacity = buffer.capacity;
    buffer_clear(&buffer);
    buffer_append_text(&buffer, "x");
    buffer_append(&buffer, NULL, 0);
    assert_bytes(&buffer, "x");
    assert_int_equal(buffer.capacity, capacity);
    buffer_dispose(&buffer);
    assert_null(buffer.bytes);
}

static void writes_integers(void **state)
{
    static const int64_t numbers[] = {0, 7, -1, 1700000000, INT64_MAX, INT64_MIN};
    struct buffer written = {0}, printed = {0};

    (void)state;
    for (size_t i = 0; i != COUNT_OF(numbers); ++i) {
        buffer_append_integer(&written, numbers[i]);
        buffer_append(&written, " ", 1);
        buffer_printf(&printed, "%" PRId64 " ", numbers[i]);
    }
    buffer_append(&printed, "", 1);
    assert_bytes(&written, printed.bytes);
    buffer_dispose(&written);
    buffer_dispose(&printed);
}

static void escapes_json(void **state)
{
    static const char *const cases[][2] = {
        {"plain text", "plain text"},
        {"a\"b\\c", "a\\\"b\\\\c"},
        {"\n\t\x01\x7f", "\\u000a\\u0009\\u0001\\u007f"},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x91", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x94\x91"},
        {"\xc2\x9b\xc2\xa0", "\\u009b\xc2\xa0"}, /* a terminal would execute the first */
        {"\xff", "\\ufffd"},
        {"\xc3", "\\ufffd"},                                  /* truncated */
        {"\xc0\xaf", "\\ufffd\\ufffd"},                       /* overlong */
        {"\xed\xa0\x80", "\\ufffd\\ufffd\\ufffd"},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\\ufffd\\ufffd\\ufffd\\ufffd"}, /* past the last code point */
    };

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        struct buffer buffer = {0};

        buffer_append_json(&buffer, slice_of(cases[i][0]));
        assert_bytes(&buffer, cases[i][1]);
        buffer_dispose(&buffer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps_its_memory),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(escapes_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
