/* common/config: kinds, defaults, error messages, unknown names, masked passwords. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/config.h"

struct fields {
    char *text;
    char *url;
    long long number;
    long long choice;
};

static const char *const colours[] = {"red", "green", NULL};

static bool check_url(const char *value, struct failure *failure)
{
    return strstr(value, "://") != NULL || failure_set(failure, "give a URL");
}

static const struct config_option options[] = {
    {.name = "UT_TEXT", .offset = offsetof(struct fields, text), .default_value = "abc"},
    {.name = "UT_URL", .offset = offsetof(struct fields, url), .secret = true, .check = check_url},
    {.name = "UT_NUMBER",
     .kind = CONFIG_NUMBER,
     .offset = offsetof(struct fields, number),
     .default_value = "7",
     .min = 1,
     .max = 10,
     .zero_word = "auto"},
    {.name = "UT_COLOUR",
     .kind = CONFIG_CHOICE,
     .offset = offsetof(struct fields, choice),
     .default_value = "green",
     .choices = colours},
};

static int clear(void **state)
{
    (void)state;
    for (size_t i = 0; i != COUNT_OF(options); ++i)
        unsetenv(options[i].name);
    return 0;
}

static void takes_defaults_for_unset_and_empty(void **state)
{
    struct fields fields = {0};
    struct failure failure;

    (void)state;
    setenv("UT_TEXT", "", 1);
    assert_true(config_load(options, COUNT_OF(options), &fields, &failure));
    assert_string_equal(fields.text, "abc");
    assert_null(fields.url);
    assert_int_equal(fields.number, 7);
    assert_int_equal(fields.choice, 1);
    config_dispose(options, COUNT_OF(options), &fields);
}

static void takes_values(void **state)
{
    struct fields fields = {0};
    struct failure failure;

    (void)state;
    setenv("UT_TEXT", "x", 1);
    setenv("UT_URL", "a://b", 1);
    setenv("UT_NUMBER", "auto", 1);
    setenv("UT_COLOUR", "red", 1);
    assert_true(config_load(options, COUNT_OF(options), &fields, &failure));
    assert_string_equal(fields.text, "x");
    assert_string_equal(fields.url, "a://b");
    assert_int_equal(fields.number, 0);
    assert_int_equal(fields.choice, 0);
    config_dispose(options, COUNT_OF(options), &fields);
}

static void refuse(const char *name, const char *value, const char *in_reason)
{
    struct fields fields = {0};
    struct failure failure = {""};

    clear(NULL);
    setenv(name, value, 1);
    assert_false(config_load(options, COUNT_OF(options), &fields, &failure));
    assert_non_null(strstr(failure.reason, name));
    assert_non_null(strstr(failure.reason, in_reason));
    config_dispose(options, COUNT_OF(options), &fields);
}

static void refuses_with_name_value_and_form(void **state)
{
    (void)state;
    refuse("UT_NUMBER", "0", "from 1 to 10, or auto");
    refuse("UT_NUMBER", "11", "UT_NUMBER=11");
    refuse("UT_NUMBER", "-3", "whole number");
    refuse("UT_NUMBER", "5x", "UT_NUMBER=5x");
    refuse("UT_NUMBER", " 5", "whole number");
    refuse("UT_NUMBER", "99999999999999999999", "whole number");
    refuse("UT_COLOUR", "blue", "one of red, green");
    refuse("UT_URL", "nothing", "a URL");
}

static const char *found_name, *found_nearest;
static char found[64];

static bool is_ignored(const char *name)
{
    return strcmp(name, "UT_SERVICE_HOST") == 0;
}

static void on_unknown(const char *name, const char *nearest)
{
    snprintf(found, sizeof(found), "%s", name);
    found_name = found;
    found_nearest = nearest;
}

static void names_the_nearest_known_name(void **state)
{
    (void)state;
    setenv("UT_SERVICE_HOST", "x", 1);
    config_find_unknown(options, COUNT_OF(options), "UT_", is_ignored, on_unknown);
    assert_null(found_name);
    setenv("UT_COLOR", "red", 1);
    config_find_unknown(options, COUNT_OF(options), "UT_", is_ignored, on_unknown);
    assert_string_equal(found_name, "UT_COLOR");
    assert_string_equal(found_nearest, "UT_COLOUR");
    unsetenv("UT_SERVICE_HOST");
    unsetenv("UT_COLOR");
}

static void masks_passwords(void **state)
{
    static const char *const cases[][2] = {
        {"postgresql://u:secret@h/db", "postgresql://u:****@h/db"},
        {"postgresql://u:se/cr@et@h/db", "postgresql://u:****@h/db"},
        {"postgresql://h/db?password=secret&x=y", "postgresql://h/db?password=****&x=y"},
        {"postgresql://h/db?password=*s*&sslpassword=t",
         "postgresql://h/db?password=****&sslpassword=****"},
        {"redis://:secret@h:6379/0", "redis://:****@h:6379/0"},
        {"postgresql://u@h:5432/db", "postgresql://u@h:5432/db"},
    };
    char masked[100];

    (void)state;
    for (size_t i = 0; i != COUNT_OF(cases); ++i) {
        config_mask_url(cases[i][0], masked, sizeof(masked));
        assert_string_equal(masked, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(takes_defaults_for_unset_and_empty, clear),
        cmocka_unit_test_setup(takes_values, clear),
        cmocka_unit_test_setup(refuses_with_name_value_and_form, clear),
        cmocka_unit_test_setup(names_the_nearest_known_name, clear),
        cmocka_unit_test(masks_passwords),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
