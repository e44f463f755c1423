/* common/base64: base64url without padding, both ways. (fuzz_basic.c has the standard form.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/attributes.h"
#include "common/base64.h"

static void decodes_what_it_encodes(void **state)
{
    unsigned char bytes[100];
    char text[BASE64_URL_SIZE(sizeof(bytes))], decoded[sizeof(text) + 3];
    size_t length;

    (void)state;
    for (size_t i = 0; i != sizeof(bytes); ++i)
        bytes[i] = (unsigned char)(i * 37 + 250); /* with - and _ among the characters */
    for (size_t size = 1; size <= sizeof(bytes); ++size) {
        size_t written = base64_url_encode(bytes, size, text);

        assert_true(base64_url_decode((struct slice){text, written}, decoded, &length));
        assert_int_equal(length, size);
        assert_memory_equal(decoded, bytes, size);
    }
}

static void decodes_nothing_else(void **state)
{
    static const char *const bad[] = {
        "", "A", "AAAAA", "AA==", "AAA=", "AA+A", "AA/A", "AA A", "AA\nA", "AAA.", "====", "A===",
    };
    char decoded[16];
    size_t length;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(bad); ++i)
        assert_false(base64_url_decode(slice_of(bad[i]), decoded, &length));
    assert_false(base64_url_decode((struct slice){"AA\0A", 4}, decoded, &length));
    assert_false(base64_url_decode((struct slice){"AA\xffZ", 4}, decoded, &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_it_encodes),
        cmocka_unit_test(decodes_nothing_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
