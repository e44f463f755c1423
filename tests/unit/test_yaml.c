/* common/yaml: types, values that JSON cannot express, broken documents. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/yaml.h"

static void check(const char *yaml, const char *json)
{
    struct failure failure;
    json_t *value = yaml_parse(slice_of(yaml), &failure);
    char *text;

    if (value == NULL)
        fail_msg("%s: %s", yaml, failure.reason);
    text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text, json);
    free(text);
    json_decref(value);
}

static void check_refused(const char *yaml, const char *reason)
{
    struct failure failure;

    assert_null(yaml_parse(slice_of(yaml), &failure));
    assert_string_equal(failure.reason, reason);
}

static void test_scalars_have_types(void **state)
{
    (void)state;
    check("[null, ~, '', true, False, 'true']", "[null,null,\"\",true,false,\"true\"]");
    check("[0, -12, +7, 007, 9223372036854775807]", "[0,-12,7,7,9223372036854775807]");
    check("[1.5, -.25, 2e3, '1.5']", "[1.5,-0.25,2000.0,\"1.5\"]");
    check("[., -, e3, 1e, 0.1.0, 2026-11-29, yes, 0x10, .inf]",
          "[\".\",\"-\",\"e3\",\"1e\",\"0.1.0\",\"2026-11-29\",\"yes\",\"0x10\",\".inf\"]");
    check("|\n  two\n  lines\n", "\"two\\nlines\\n\"");
}

static void test_what_is_in_what(void **state)
{
    (void)state;
    check("a: {b: [1, {c: d}]}\n'200':\n  - e # f\n",
          "{\"a\":{\"b\":[1,{\"c\":\"d\"}]},\"200\":[\"e\"]}");
    check("{\"json\": [\"too\", 1]}", "{\"json\":[\"too\",1]}");
    check("---\na:\n...\n", "{\"a\":null}");
}

static void test_what_json_cannot_say_is_refused(void **state)
{
    (void)state;
    check_refused("a: &x [1]\nb: *x\n", "line 1: an alias (*) leads here; write it out instead");
    check_refused("&x [*x]", "line 1: an alias (*) leads here; write it out instead");
    check_refused("&x a: 1\n*x : 2", "line 1: a key must be a text");
    check_refused("a: 1\n\na: 2", "line 3: a key stands twice");
    check_refused("? [a]\n: 1", "line 1: a key must be a text");
    check_refused("a: !!int '1'", "line 1: tags (!) are not taken");
    check_refused("a: !mine b", "line 1: tags (!) are not taken");
    check_refused("a\n---\nb", "there is more than one document in it");
    check_refused("9223372036854775808", "line 1: the number is too large");
    check_refused("1e999", "line 1: the number is too large");
    check_refused("\"a\\0b\"", "line 1: a NUL in a scalar");
    check_refused("\"a\\0b\": c", "line 1: a NUL in a key");
}

static void test_broken_documents(void **state)
{
    char deep[2 * YAML_DEPTH_MAX + 3] = "";

    (void)state;
    check_refused("", "there is nothing in it");
    check_refused("# only this", "there is nothing in it");
    check_refused("a:\n  - b\n c", "line 3: did not find expected key");
    check_refused("[1, 2", "line 2: did not find expected ',' or ']'");
    memset(deep, '[', YAML_DEPTH_MAX);
    memset(deep + YAML_DEPTH_MAX, ']', YAML_DEPTH_MAX);
    check(deep, deep);
    memset(deep, '[', YAML_DEPTH_MAX + 1);
    memset(deep + YAML_DEPTH_MAX + 1, ']', YAML_DEPTH_MAX + 1);
    check_refused(deep, "line 1: nested too deeply");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scalars_have_types),
        cmocka_unit_test(test_what_is_in_what),
        cmocka_unit_test(test_what_json_cannot_say_is_refused),
        cmocka_unit_test(test_broken_documents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
