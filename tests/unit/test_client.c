/* auth/client: who is let in, and which ids there can be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "auth/client.h"

#define NOW 1700000000000

static struct secret_digest digest_of(const char *text)
{
    struct secret_digest digest;

    secret_digest(slice_of(text), &digest);
    return digest;
}

static void lets_in_by_any_live_secret(void **state)
{
    struct client client = {.enabled = true};
    struct secret_digest first = digest_of("first"), second = digest_of("second"),
                         last = digest_of("last"), wrong = digest_of("wrong");

    (void)state;
    client.secrets[0] = (struct client_secret){first, INT64_MAX};
    client.secrets[1] = (struct client_secret){second, NOW + 1};
    client.secrets[3] = (struct client_secret){last, INT64_MAX};
    assert_true(client_authenticate(&client, &first, NOW));
    assert_true(client_authenticate(&client, &second, NOW));
    assert_true(client_authenticate(&client, &last, NOW));
    assert_false(client_authenticate(&client, &wrong, NOW));
    /* The overlap of a rotation ends while the record is cached. */
    assert_false(client_authenticate(&client, &second, NOW + 1));
    assert_true(client_authenticate(&client, &first, NOW + 1));
}

static void lets_nobody_in_without_client_or_secret(void **state)
{
    struct client client = {.enabled = true};
    struct secret_digest right = digest_of("right"), zero = {{0}};

    (void)state;
    assert_false(client_authenticate(NULL, &right, NOW));
    assert_false(client_authenticate(NULL, &zero, NOW));
    assert_false(client_authenticate(&client, &zero, NOW)); /* a free slot is no secret */
    client.secrets[0] = (struct client_secret){right, INT64_MAX};
    client.enabled = false;
    assert_false(client_authenticate(&client, &right, NOW));
}

static void knows_the_form_of_ids(void **state)
{
    static const char id64[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    (void)state;
    assert_true(client_id_is_valid(SLICE("a")));
    assert_true(client_id_is_valid(SLICE("Aa0._-")));
    assert_true(client_id_is_valid(slice_of(id64)));
    assert_false(client_id_is_valid((struct slice){"aa"
                                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                                   65}));
    assert_false(client_id_is_valid(SLICE("")));
    assert_false(client_id_is_valid(SLICE("a b")));
    assert_false(client_id_is_valid(SLICE("a\0b")));
    assert_false(client_id_is_valid(SLICE("\xc3\xa4")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lets_in_by_any_live_secret),
        cmocka_unit_test(lets_nobody_in_without_client_or_secret),
        cmocka_unit_test(knows_the_form_of_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
