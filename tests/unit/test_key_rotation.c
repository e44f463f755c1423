/* auth/token: key_set and key_rotation: which key signs when, what is published, and the changes.
 */
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "tests/unit/key_directory.h"

#include <jansson.h>
#include <sys/stat.h>

#include "auth/token/key_rotation.h"

static void test_states_over_time(void **state)
{
    char old[KEY_KID_LENGTH + 1], new[KEY_KID_LENGTH + 1];
    const struct signing_key *old_key, *new_key;
    struct key_set *set;

    (void)state;
    create(KEY_ES256, NOW, old);
    create(KEY_ES256, NOW + 900, new);
    retire(old, NOW + 5000);
    set = load();
    old_key = find(set, old);
    new_key = find(set, new);
    assert_ptr_equal(old_key, &set->keys[0]);

    assert_null(key_set_signing(set, NOW - 1));
    assert_int_equal(key_set_state(set, old_key, NOW - 1), KEY_NEXT);

    assert_ptr_equal(key_set_signing(set, NOW), old_key);
    assert_int_equal(key_set_state(set, old_key, NOW + 899), KEY_SIGNING);
    assert_int_equal(key_set_state(set, new_key, NOW + 899), KEY_NEXT);

    assert_ptr_equal(key_set_signing(set, NOW + 900), new_key);
    assert_int_equal(key_set_state(set, old_key, NOW + 900), KEY_RETIRING);
    assert_int_equal(key_set_state(set, new_key, NOW + 900), KEY_SIGNING);

    assert_int_equal(key_set_state(set, old_key, NOW + 4999), KEY_RETIRING);
    assert_int_equal(key_set_state(set, old_key, NOW + 5000), KEY_RETIRED);
    key_set_release(set);
}

static void test_of_two_keys_of_one_second_the_larger_kid_signs(void **state)
{
    char a[KEY_KID_LENGTH + 1], b[KEY_KID_LENGTH + 1];
    struct key_set *set;

    (void)state;
    create(KEY_HS256, NOW, a);
    create(KEY_HS256, NOW, b);
    set = load();
    assert_string_equal(key_set_signing(set, NOW)->kid, strcmp(a, b) > 0 ? a : b);
    key_set_release(set);
}

static void test_a_retired_key_hands_back_to_an_older_one(void **state)
{
    char old[KEY_KID_LENGTH + 1], new[KEY_KID_LENGTH + 1];
    struct key_set *set;

    (void)state;
    create(KEY_ES256, NOW, old);
    create(KEY_ES256, NOW + 1, new);
    retire(new, NOW + 10);
    set = load();
    assert_string_equal(key_set_signing(set, NOW + 9)->kid, new);
    assert_string_equal(key_set_signing(set, NOW + 10)->kid, old);
    key_set_release(set);
}

static void test_jwks_holds_what_is_public_and_current(void **state)
{
    static const char *const private_members[] = {"d", "p", "q", "dp", "dq", "qi", "k", "oth"};
    char first[KEY_KID_LENGTH + 1], second[KEY_KID_LENGTH + 1], secret[KEY_KID_LENGTH + 1];
    struct key_set *set;
    json_t *jwks, *keys, *key;
    char *text;
    size_t i;

    (void)state;
    set = load();
    text = key_set_jwks(set, NOW);
    assert_string_equal(text, "{\"keys\":[]}");
    free(text);
    key_set_release(set);

    create(KEY_RS256, NOW, first);
    create(KEY_ES256, NOW + 900, second);
    create(KEY_HS256, NOW, secret);
    retire(first, NOW + 5000);
    set = load();
    text = key_set_jwks(set, NOW);
    assert_null(strstr(text, secret));
    assert_null(strchr(text, ' '));
    assert_non_null(jwks = json_loads(text, JSON_REJECT_DUPLICATES, NULL));
    keys = json_object_get(jwks, "keys");
    assert_int_equal(json_array_size(keys), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(keys, 0), "kid")), second);
    assert_string_equal(json_string_value(json_object_get(json_array_get(keys, 1), "kid")), first);
    json_array_foreach(keys, i, key)
    {
        for (size_t member = 0; member < COUNT_OF(private_members); ++member)
            assert_null(json_object_get(key, private_members[member]));
    }
    json_decref(jwks);
    free(text);

    text = key_set_jwks(set, NOW + 5000);
    assert_null(strstr(text, first));
    assert_non_null(strstr(text, second));
    free(text);
    key_set_release(set);
}

static void test_retire_and_remove(void **state)
{
    char kid[KEY_KID_LENGTH + 1];
    struct key_set *before, *after;
    struct failure failure;

    (void)state;
    create(KEY_ES256, NOW, kid);
    before = load();
    retire(kid, NOW + 100);
    after = load();
    assert_int_equal(after->count, 1);
    assert_string_equal(after->keys[0].kid, kid);
    assert_int_equal(after->keys[0].retire_at, NOW + 100);

    /* A key that another process has moved cannot be changed. */
    assert_false(key_file_retire(directory, &before->keys[0], NOW + 200, &failure));
    assert_non_null(strstr(failure.reason, "is gone"));
    assert_false(key_file_remove(directory, &before->keys[0], &failure));
    assert_non_null(strstr(failure.reason, "is gone"));

    assert_true(key_file_remove(directory, &after->keys[0], &failure));
    assert_int_equal(count_loaded(), 0);
    key_set_release(before);
    key_set_release(after);
}

static void rotate(struct key_rotation *rotation, int64_t now)
{
    struct key_set *set = load();
    struct failure failure;

    if (!key_rotation_run(rotation, directory, set, now, &failure))
        fail_msg("%s", failure.reason);
    key_set_release(set);
}

static void test_rotation(void **state)
{
    struct key_rotation first = {.alg = KEY_ES256, .lead_s = 900, .longest_ttl_s = 3600};
    struct key_rotation second = first, third = first;
    struct key_set *set;

    (void)state;
    rotate(&first, NOW); /* nothing signs, so there is nothing to wait for */
    assert_true(first.at_once);
    assert_int_equal(first.activate_at, NOW);
    assert_int_equal(first.retired_count, 0);

    rotate(&second, NOW + 10);
    assert_false(second.at_once);
    assert_int_equal(second.activate_at, NOW + 910);
    assert_int_equal(second.retired_count, 1);
    set = load();
    assert_int_equal(find(set, first.kid)->retire_at, NOW + 910 + 3600 + 60);
    assert_string_equal(key_set_signing(set, NOW + 909)->kid, first.kid);
    assert_string_equal(key_set_signing(set, NOW + 910)->kid, second.kid);
    key_set_release(set);

    /* Again in the same second: the later key wins, and the one in between gets an end too. */
    rotate(&third, NOW + 10);
    assert_int_equal(third.activate_at, NOW + 911);
    assert_int_equal(third.retired_count, 1);
    set = load();
    assert_int_equal(set->count, 3);
    assert_int_equal(find(set, first.kid)->retire_at, NOW + 910 + 3600 + 60);
    assert_int_equal(find(set, second.kid)->retire_at, NOW + 911 + 3600 + 60);
    assert_int_equal(find(set, third.kid)->retire_at, 0);
    key_set_release(set);
}

static void test_rotation_leaves_later_keys_alone(void **state)
{
    struct key_rotation rotation = {.alg = KEY_RS256, .lead_s = 900, .longest_ttl_s = 3600};
    char now_kid[KEY_KID_LENGTH + 1], later_kid[KEY_KID_LENGTH + 1];
    struct key_set *set;

    (void)state;
    create(KEY_ES256, NOW, now_kid);
    create(KEY_ES256, NOW + 10000, later_kid);
    rotate(&rotation, NOW);
    set = load();
    assert_int_equal(find(set, rotation.kid)->alg, KEY_RS256);
    assert_int_not_equal(find(set, now_kid)->retire_at, 0);
    assert_int_equal(find(set, later_kid)->retire_at, 0);
    key_set_release(set);
}

static void test_rotation_without_lead_takes_over(void **state)
{
    struct key_rotation rotation = {.alg = KEY_ES256, .lead_s = 0, .longest_ttl_s = 3600};
    char kid[KEY_KID_LENGTH + 1];
    struct key_set *set;

    (void)state;
    create(KEY_ES256, NOW, kid);
    rotate(&rotation, NOW);
    set = load();
    assert_string_equal(key_set_signing(set, NOW + 1)->kid, rotation.kid);
    key_set_release(set);
}

#define DAY 86400

/* When the keys are due, 30 days after the newest was activated; checks that `kid` is that one. */
static int64_t due_at(int64_t now, const char *kid)
{
    struct key_set *set = load();
    const struct signing_key *newest;
    int64_t at = key_rotation_due_at(set, 30, now, &newest);

    if (kid == NULL)
        assert_null(newest);
    else
        assert_string_equal(newest->kid, kid);
    key_set_release(set);
    return at;
}

static void test_keys_are_due_by_the_age_of_the_newest(void **state)
{
    struct key_rotation rotation = {.alg = KEY_ES256, .lead_s = 900, .longest_ttl_s = 3600};
    char first[KEY_KID_LENGTH + 1];

    (void)state;
    assert_int_equal(due_at(NOW, NULL), NOW);
    create(KEY_ES256, NOW, first);
    assert_int_equal(due_at(NOW, first), NOW + 30 * DAY);
    assert_int_equal(due_at(NOW + 31 * DAY, first), NOW + 30 * DAY);

    /* The key that waits counts, from its activation on. */
    rotate(&rotation, NOW + 31 * DAY);
    assert_int_equal(due_at(NOW + 31 * DAY, rotation.kid), NOW + 61 * DAY + 900);
    assert_int_equal(due_at(NOW + 40 * DAY, rotation.kid), NOW + 61 * DAY + 900);
}

static void test_keys_are_due_while_none_signs_or_none_follows(void **state)
{
    char first[KEY_KID_LENGTH + 1], next[KEY_KID_LENGTH + 1];

    (void)state;
    create(KEY_ES256, NOW, first);
    retire(first, NOW + 20 * DAY);
    assert_int_equal(due_at(NOW + DAY, first), NOW + DAY);
    create(KEY_ES256, NOW + 25 * DAY, next);
    assert_int_equal(due_at(NOW + DAY, next), NOW + 55 * DAY);
    assert_int_equal(due_at(NOW + 20 * DAY, next), NOW + 20 * DAY); /* none signs before it */
    assert_int_equal(due_at(NOW + 25 * DAY, next), NOW + 55 * DAY);
    retire(next, NOW + 26 * DAY);
    assert_int_equal(due_at(NOW + 26 * DAY, NULL), NOW + 26 * DAY);
}

static void test_fingerprint_follows_every_change(void **state)
{
    char a[KEY_KID_LENGTH + 1], b[KEY_KID_LENGTH + 1], name[KEY_NAME_SIZE], path[PATH_MAX];
    char text[8192];
    uint64_t empty = key_directory_fingerprint(directory), one, two, retired;
    struct failure failure;
    struct key_set *set;

    (void)state;
    assert_true(empty != 0);
    create(KEY_ES256, NOW, a);
    one = key_directory_fingerprint(directory);
    assert_true(one != 0 && one != empty);
    only_file(name, text);
    assert_true(key_directory_fingerprint(directory) == one); /* reading is not a change */

    create(KEY_HS256, NOW, b);
    two = key_directory_fingerprint(directory);
    assert_true(two != one && two != empty);

    retire(a, NOW + 100);
    retired = key_directory_fingerprint(directory);
    assert_true(retired != two);
    set = load();
    assert_true(set->fingerprint == retired);

    key_name_write(find(set, a), name);
    path_of(name, path);
    assert_int_equal(chmod(path, 0400), 0); /* may make a key readable */
    assert_true(key_directory_fingerprint(directory) != retired);

    assert_true(key_file_remove(directory, &set->keys[0], &failure));
    assert_true(key_file_remove(directory, &set->keys[1], &failure));
    assert_true(key_directory_fingerprint(directory) == empty);
    key_set_release(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_states_over_time),
        IN_DIRECTORY(test_of_two_keys_of_one_second_the_larger_kid_signs),
        IN_DIRECTORY(test_a_retired_key_hands_back_to_an_older_one),
        IN_DIRECTORY(test_jwks_holds_what_is_public_and_current),
        IN_DIRECTORY(test_retire_and_remove),
        IN_DIRECTORY(test_rotation),
        IN_DIRECTORY(test_rotation_leaves_later_keys_alone),
        IN_DIRECTORY(test_rotation_without_lead_takes_over),
        IN_DIRECTORY(test_keys_are_due_by_the_age_of_the_newest),
        IN_DIRECTORY(test_keys_are_due_while_none_signs_or_none_follows),
        IN_DIRECTORY(test_fingerprint_follows_every_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
