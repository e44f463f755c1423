/* common/uuid: version 7 UUIDs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "common/uuid.h"

/* RFC 9562 A.6: 2022-02-22 14:22:22 -05:00 */
#define EXAMPLE         "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"
#define EXAMPLE_UNIX_MS INT64_C(1645557742000)

static int compare_uuid(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

static void the_example_of_the_rfc_is_read_and_written(void **state)
{
    char text[UUID_TEXT_LENGTH];
    struct uuid uuid;

    (void)state;
    assert_true(uuid_parse(SLICE(EXAMPLE), &uuid));
    assert_int_equal(uuid_v7_unix_ms(&uuid), EXAMPLE_UNIX_MS);
    uuid_format(&uuid, text);
    assert_memory_equal(text, EXAMPLE, UUID_TEXT_LENGTH);
}

static void a_made_one_has_its_time_version_and_variant(void **state)
{
    static const int64_t times[] = {0, 1, EXAMPLE_UNIX_MS, (INT64_C(1) << 48) - 1};
    static struct uuid_source source;
    struct uuid uuid;
    char text[UUID_TEXT_LENGTH];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        assert_true(uuid_v7_make(&source, times[i], &uuid));
        assert_int_equal(uuid_v7_unix_ms(&uuid), times[i]);
        uuid_format(&uuid, text);
        assert_int_equal(text[14], '7');
        assert_non_null(memchr("89ab", text[19], 4));
    }
    assert_true(uuid_v7_make(&source, EXAMPLE_UNIX_MS, &uuid));
    uuid_format(&uuid, text);
    assert_memory_equal(text, EXAMPLE, 15);
}

static void made_ones_are_distinct_within_a_millisecond(void **state)
{
    static struct uuid_source source;
    static struct uuid made[2000]; /* more than four refills */

    (void)state;
    for (size_t i = 0; i < COUNT_OF(made); i++)
        assert_true(uuid_v7_make(&source, EXAMPLE_UNIX_MS, &made[i]));
    qsort(made, COUNT_OF(made), sizeof(made[0]), compare_uuid);
    for (size_t i = 1; i < COUNT_OF(made); i++)
        assert_memory_not_equal(&made[i - 1], &made[i], sizeof(made[0]));
}

static void every_random_bit_takes_both_values(void **state)
{
    static struct uuid_source source;
    struct uuid ever_set = {{0}}, always_set, uuid;
    static const unsigned char random_bits[16] = {
        [6] = 0x0f,  [7] = 0xff,  [8] = 0x3f,  [9] = 0xff,  [10] = 0xff,
        [11] = 0xff, [12] = 0xff, [13] = 0xff, [14] = 0xff, [15] = 0xff};

    (void)state;
    memset(&always_set, 0xff, sizeof(always_set));
    for (size_t i = 0; i < 200; i++) {
        assert_true(uuid_v7_make(&source, 0, &uuid));
        for (size_t j = 0; j < sizeof(uuid.bytes); j++) {
            ever_set.bytes[j] |= uuid.bytes[j];
            always_set.bytes[j] &= uuid.bytes[j];
        }
    }
    for (size_t j = 0; j < sizeof(uuid.bytes); j++)
        assert_int_equal(ever_set.bytes[j] & ~always_set.bytes[j], random_bits[j]);
}

static void a_later_one_sorts_after_as_bytes_and_as_text(void **state)
{
    static struct uuid_source source;
    struct uuid before, after;
    char before_text[UUID_TEXT_LENGTH], after_text[UUID_TEXT_LENGTH];

    (void)state;
    assert_true(uuid_v7_make(&source, EXAMPLE_UNIX_MS, &before));
    for (int64_t ms = EXAMPLE_UNIX_MS + 1; ms < EXAMPLE_UNIX_MS + 600; ms++) {
        assert_true(uuid_v7_make(&source, ms, &after));
        assert_true(memcmp(before.bytes, after.bytes, sizeof(before.bytes)) < 0);
        uuid_format(&before, before_text);
        uuid_format(&after, after_text);
        assert_true(memcmp(before_text, after_text, UUID_TEXT_LENGTH) < 0);
        before = after;
    }
}

static void written_and_read_again_it_is_the_same(void **state)
{
    static struct uuid_source source;
    struct uuid uuid, again;
    char text[UUID_TEXT_LENGTH];

    (void)state;
    for (size_t i = 0; i < 1000; i++) {
        assert_true(uuid_v7_make(&source, (int64_t)i << 38, &uuid));
        uuid_format(&uuid, text);
        assert_true(uuid_parse((struct slice){text, sizeof(text)}, &again));
        assert_memory_equal(&uuid, &again, sizeof(uuid));
    }
}

static void digits_of_either_case_are_read(void **state)
{
    struct uuid lower, upper;

    (void)state;
    assert_true(uuid_parse(SLICE(EXAMPLE), &lower));
    assert_true(uuid_parse(SLICE("017F22E2-79B0-7CC3-98C4-DC0C0C07398F"), &upper));
    assert_memory_equal(&lower, &upper, sizeof(lower));
}

static void other_text_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398f0",
        "017f22e279b07cc398c4dc0c0c07398f",
        "017f22e2-79b0-7cc3-98c4-dc0c0c07398g",
        "017f22e2x79b0-7cc3-98c4-dc0c0c07398f",
        "017f22e-279b0-7cc3-98c4-dc0c0c07398f",
        "{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",
        "017f22e2-79b0-7cc3-98c4-dc0c0c0739 8",
    };
    struct uuid uuid;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++)
        assert_false(uuid_parse(slice_of(texts[i]), &uuid));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc_is_read_and_written),
        cmocka_unit_test(a_made_one_has_its_time_version_and_variant),
        cmocka_unit_test(made_ones_are_distinct_within_a_millisecond),
        cmocka_unit_test(every_random_bit_takes_both_values),
        cmocka_unit_test(a_later_one_sorts_after_as_bytes_and_as_text),
        cmocka_unit_test(written_and_read_again_it_is_the_same),
        cmocka_unit_test(digits_of_either_case_are_read),
        cmocka_unit_test(other_text_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
