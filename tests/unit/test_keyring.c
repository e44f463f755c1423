/* auth/token/keyring: a worker's view as time passes, and when it goes back. */
#include "key_directory.h"

#include "auth/token/keyring.h"

static void assert_says(struct keyring_view *view, struct keyring *ring, int64_t now,
                        const char *signing, const char *gone)
{
    keyring_view_refresh(view, ring, now);
    assert_string_equal(view->signer.kid, signing);
    assert_non_null(strstr(view->jwks, signing));
    if (gone != NULL)
        assert_null(strstr(view->jwks, gone));
}

static void test_the_clock_steps_over_a_rotation_and_back(void **state)
{
    char old[KEY_KID_LENGTH + 1], new[KEY_KID_LENGTH + 1];
    struct keyring_view view = {0};
    struct keyring ring;

    (void)state;
    create(KEY_ES256, NOW, old);
    create(KEY_ES256, NOW + 100, new);
    retire(old, NOW + 200);
    keyring_open(&ring, directory);
    assert_says(&view, &ring, NOW + 50, old, NULL);
    assert_says(&view, &ring, NOW + 300, new, old);
    assert_says(&view, &ring, NOW + 50, old, NULL);
    assert_non_null(strstr(view.jwks, new));
    keyring_view_dispose(&view);
    keyring_close(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_the_clock_steps_over_a_rotation_and_back),
    };

    return cmocka_run_group_tests_name("keyring", tests, NULL, NULL);
}
