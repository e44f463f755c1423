/* common/network: addresses as proxies write them, and the networks that contain them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/network.h"

static void reads_addresses_with_and_without_a_port(void **state)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        {"192.0.2.1", "192.0.2.1"},           {"192.0.2.1:8080", "192.0.2.1"},
        {"2001:db8::1", "2001:db8::1"},       {"[2001:db8::1]", "2001:db8::1"},
        {"[2001:db8::1]:443", "2001:db8::1"}, {"::ffff:192.0.2.7", "192.0.2.7"},
    };
    char text[NETWORK_TEXT_MAX];
    struct network_address address;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        assert_true(network_address_parse(slice_of(cases[i].text), &address));
        assert_string_equal(network_address_format(&address, text), cases[i].shown);
    }
}

static void refuses_what_is_no_address(void **state)
{
    static const struct slice cases[] = {
        SLICE(""),
        SLICE("unknown"),
        SLICE("192.0.2"),
        SLICE("192.0.2.256"),
        SLICE("_hidden"),
        SLICE("[2001:db8::1"),
        SLICE("[]"),
        SLICE("192.0.2.1\0x"),
        SLICE("2001:db8::1:2:3:4:5:6:7"),
        SLICE(":"),
        SLICE("1.2.3.4, 5.6.7.8"),
    };
    struct network_address address;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i)
        assert_false(network_address_parse(cases[i], &address));
}

static void tells_what_is_loopback(void **state)
{
    static const struct {
        const char *address;
        bool is_loopback;
    } cases[] = {
        {"127.0.0.1", true}, {"127.255.255.254", true}, {"::1", true}, {"128.0.0.1", false},
        {"::2", false},      {"7f00::1", false},
    };
    struct network_address address = network_address_of(&(struct sockaddr){.sa_family = AF_UNIX});

    (void)state;
    assert_false(network_address_is_loopback(&address));
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        assert_true(network_address_parse(slice_of(cases[i].address), &address));
        assert_int_equal(network_address_is_loopback(&address), cases[i].is_loopback);
    }
}

static void tells_who_is_in_a_network(void **state)
{
    static const struct {
        const char *networks, *address;
        bool in;
    } cases[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"192.0.2.1", "192.0.2.1", true},
        {"192.0.2.1", "192.0.2.2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"10.0.0.0/8, 2001:db8::/32 192.0.2.1", "2001:db8:1::", true},
        {"::/0", "192.0.2.1", true},
        {"", "192.0.2.1", false},
    };
    struct network_address address;
    struct network_list networks;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        assert_true(network_list_parse(cases[i].networks, &networks));
        assert_true(network_address_parse(slice_of(cases[i].address), &address));
        assert_int_equal(network_list_has(&networks, &address), cases[i].in);
    }
}

static void tells_which_networks_are_everyone(void **state)
{
    static const struct {
        const char *networks;
        bool everyone;
    } cases[] = {
        {"0.0.0.0/0", true},          {"::/0", true},
        {"10.0.0.1, ::/0", true},     {"0.0.0.0/1,128.0.0.0/1", true},
        {"10.0.0.0/7", true},         {"10.0.0.0/8", false},
        {"2000::/3", true},           {"2001::/15", true},
        {"2001::/16", false},         {"::/80", true}, /* contains ::ffff:0.0.0.0/96 */
        {"::1:0:0:0/80", false},      {"::1", false},
        {"unix,192.0.2.0/24", false}, {"", false},
    };
    struct network_list networks;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        assert_true(network_list_parse(cases[i].networks, &networks));
        assert_int_equal(network_list_is_everyone(&networks), cases[i].everyone);
    }
}

static void knows_local_sockets_by_a_word(void **state)
{
    struct sockaddr local = {.sa_family = AF_UNIX};
    struct network_address address = network_address_of(&local);
    struct network_list networks;
    char text[NETWORK_TEXT_MAX];

    (void)state;
    assert_string_equal(network_address_format(&address, text), "local");
    assert_true(network_list_parse("0.0.0.0/0,::/0", &networks));
    assert_false(network_list_has(&networks, &address));
    assert_true(network_list_parse("unix", &networks));
    assert_true(network_list_has(&networks, &address));
}

static void refuses_lists_that_it_cannot_read(void **state)
{
    static const char *const cases[] = {"10.0.0.0/33", "10.0.0.0/",
                                        "10.0.0.0/8x", "10.0.0.0/4294967304",
                                        "10.0.0.0/-1", "2001:db8::/129",
                                        "example.com", "10.0.0.0/8;1.2.3.4"};
    char many[NETWORK_MAX * 10 + 16] = "";
    struct network_list networks;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i)
        assert_false(network_list_parse(cases[i], &networks));
    for (size_t i = 0; i != NETWORK_MAX; ++i)
        strcat(many, "10.0.0.1,");
    assert_true(network_list_parse(many, &networks));
    strcat(many, "10.0.0.1");
    assert_false(network_list_parse(many, &networks));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_addresses_with_and_without_a_port),
        cmocka_unit_test(refuses_what_is_no_address),
        cmocka_unit_test(tells_what_is_loopback),
        cmocka_unit_test(tells_who_is_in_a_network),
        cmocka_unit_test(tells_which_networks_are_everyone),
        cmocka_unit_test(knows_local_sockets_by_a_word),
        cmocka_unit_test(refuses_lists_that_it_cannot_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
