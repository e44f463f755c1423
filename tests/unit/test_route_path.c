/* common/http/route_path: the paths that match a pattern, and their parameters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/http/route_path.h"

static struct slice parts[ROUTE_PATH_PARTS_MAX];

static bool matches(const char *pattern, const char *path)
{
    return route_path_matches(pattern, slice_of(path), parts);
}

static void assert_part(size_t n, const char *expected)
{
    assert_int_equal(parts[n].length, strlen(expected));
    assert_memory_equal(parts[n].bytes, expected, parts[n].length);
}

static void a_path_without_parts_is_itself(void **state)
{
    (void)state;
    assert_true(matches("/token", "/token"));
    assert_false(matches("/token", "/tokens"));
    assert_false(matches("/token", "/toke"));
    assert_false(matches("/token", "/token/"));
    assert_false(matches("/token", "/Token"));
    assert_false(matches("/token", ""));
    assert_false(matches("/token", "/to%6ben"));
    assert_false(route_path_matches("/token", (struct slice){"/token\0", 7}, parts));
}

static void a_part_is_one_segment(void **state)
{
    (void)state;
    assert_true(matches("/clients/{id}", "/clients/a.b"));
    assert_part(0, "a.b");
    assert_true(matches("/clients/{id}/secrets/{secret}", "/clients/a/secrets/b"));
    assert_part(0, "a");
    assert_part(1, "b");
    assert_false(matches("/{name}.json", "/a.json")); /* a parameter takes its whole segment */
    assert_false(matches("/clients/{id}", "/clients/"));
    assert_false(matches("/clients/{id}", "/clients"));
    assert_false(matches("/clients/{id}", "/clients/a/"));
    assert_false(matches("/clients/{id}", "/clients/a/b"));
    assert_false(matches("/clients/{id}/secrets", "/clients//secrets"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_without_parts_is_itself),
        cmocka_unit_test(a_part_is_one_segment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
