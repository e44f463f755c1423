/* common/address: addresses to listen at, and loopback addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/address.h"

static void reads_what_people_write(void **state)
{
    static const struct {
        const char *text;
        int family;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:8080", AF_INET, true},
        {"127.1.2.3:1", AF_INET, true},
        {"0.0.0.0:65535", AF_INET, false},
        {"10.0.0.1:80", AF_INET, false},
        {"[::1]:8080", AF_INET6, true},
        {"[::]:8080", AF_INET6, false},
        {":8080", AF_INET, false},
        {"localhost:80", AF_INET, true},
        {"unix:/run/jotd.sock", AF_UNIX, false},
    };

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        struct address address;

        assert_true(address_parse(cases[i].text, &address));
        assert_int_equal(address.socket.any.sa_family, cases[i].family);
        assert_int_equal(address_is_loopback(&address), cases[i].loopback);
    }
}

static void refuses_everything_else(void **state)
{
    static const char *const cases[] = {
        "",
        "8080",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        ":",
        "localhost",
        "localhost.example:80",
        "127.0.0.1:-1",
        "127.0.0.1:65536",
        "127.0.0.1:80x",
        "[::1]",
        "::1:8080",
        "[::1:8080",
        "[]:80",
        "unix:",
        "unix:a.sock",
        "1.2.3.4.5:80",
    };

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        struct address address;

        assert_false(address_parse(cases[i], &address));
    }
}

static void refuses_a_path_that_no_socket_can_have(void **state)
{
    char text[150] = "unix:/";
    struct address address;

    (void)state;
    memset(text + strlen(text), 'a', sizeof(text) - 1 - strlen(text));
    assert_false(address_parse(text, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_people_write),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(refuses_a_path_that_no_socket_can_have),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
