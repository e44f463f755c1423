/* common/redis/redis_url: valid and invalid REDIS_URLs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/redis/redis_url.h"

static void reads_what_people_write(void **state)
{
    static const struct {
        const char *text;
        struct redis_url url;
    } cases[] = {
        {"redis://127.0.0.1:6379/0", {.host = "127.0.0.1", .port = "6379", .database = "0"}},
        {"redis://redis", {.host = "redis", .port = "6379", .database = "0"}},
        {"redis://redis/", {.host = "redis", .port = "6379", .database = "0"}},
        {"redis://redis.example.com:7000/12",
         {.host = "redis.example.com", .port = "7000", .database = "12"}},
        {"redis://[::1]:6380/1", {.host = "::1", .port = "6380", .database = "1"}},
        {"redis://[2001:db8::1]", {.host = "2001:db8::1", .port = "6379", .database = "0"}},
        {"redis://:secret@redis:1",
         {.password = "secret", .host = "redis", .port = "1", .database = "0"}},
        {"redis://jotd:p%40ss%2Fw%3Aord%25@redis",
         {.user = "jotd",
          .password = "p@ss/w:ord%",
          .host = "redis",
          .port = "6379",
          .database = "0"}},
        {"unix:///run/redis.sock", {.path = "/run/redis.sock", .database = "0"}},
        {"unix:///run/a@b.sock", {.path = "/run/a@b.sock", .database = "0"}},
        {"unix:///run/redis.sock?db=3", {.path = "/run/redis.sock", .database = "3"}},
        {"unix://u:p@/run/redis.sock",
         {.user = "u", .password = "p", .path = "/run/redis.sock", .database = "0"}},
    };

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        struct redis_url url;

        assert_true(redis_url_parse(cases[i].text, &url));
        assert_string_equal(url.user, cases[i].url.user);
        assert_string_equal(url.password, cases[i].url.password);
        assert_string_equal(url.host, cases[i].url.host);
        assert_string_equal(url.port, cases[i].url.port);
        assert_string_equal(url.path, cases[i].url.path);
        assert_string_equal(url.database, cases[i].url.database);
    }
}

static void refuses_everything_else(void **state)
{
    static const char *const cases[] = {
        "",
        "redis",
        "redis:",
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://host:0",
        "redis://host:65536",
        "redis://host:123456",
        "redis://host:port",
        "redis://host:",
        "redis://host/x",
        "redis://host/-1",
        "redis://host/0/1",
        "redis://host/999999",
        "redis://::1/0",
        "redis://user@host",
        "redis://user:@host",
        "redis://user:%zz@host",
        "redis://user:%0@host",
        "redis://user:%00@host",
        "rediss://host",
        "unix://",
        "unix:///",
        "unix://relative",
        "unix:///run/redis.sock?db=",
        "unix:///run/redis.sock?database=1",
        "http://host",
    };
    char longest[400] = "redis://";
    struct redis_url url;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i)
        assert_false(redis_url_parse(cases[i], &url));
    memset(longest + 8, 'a', 300);
    assert_false(redis_url_parse(longest, &url));
    memcpy(longest, "unix:///", 8);
    assert_false(redis_url_parse(longest, &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_people_write),
        cmocka_unit_test(refuses_everything_else),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
