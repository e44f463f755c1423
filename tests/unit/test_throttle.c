/* auth/client/throttle: who may fail, and how often. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "auth/client/throttle.h"

#define NOW 1000000

static struct network_address address(const char *text)
{
    struct network_address parsed;

    assert_true(network_address_parse(slice_of(text), &parsed));
    return parsed;
}

static uint64_t failure_of(struct throttle *throttle, const char *peer, const char *id,
                           uint64_t now_ms)
{
    struct throttle_failure failure = {.peer = address(peer), .id = slice_of(id), .exists = true};

    return throttle_fail(throttle, &failure, now_ms).wait_ms;
}

static uint64_t check(struct throttle *throttle, const char *peer, const char *id, uint64_t now_ms)
{
    struct network_address from = address(peer);

    return throttle_check(throttle, &from, slice_of(id), now_ms).wait_ms;
}

/* Fails from many addresses until the id's bucket is empty. */
static void use_up_id(struct throttle *throttle, const char *id, bool exists)
{
    for (int i = 0; i != THROTTLE_ID_BURST; ++i) {
        struct throttle_failure failure = {.id = slice_of(id), .exists = exists};
        char peer[32];

        snprintf(peer, sizeof(peer), "10.0.0.%d", i);
        failure.peer = address(peer);
        assert_int_equal(throttle_fail(throttle, &failure, NOW).wait_ms, 0);
    }
}

static void use_up_peer(struct throttle *throttle, const char *peer)
{
    for (int i = 0; i != THROTTLE_PEER_BURST; ++i) {
        char id[32];

        snprintf(id, sizeof(id), "made-up-%d", i);
        assert_int_equal(failure_of(throttle, peer, id, NOW), 0);
    }
}

static void holds_an_address_to_its_rate(void **state)
{
    struct throttle throttle;
    uint64_t wait_ms;

    (void)state;
    throttle_open(&throttle);
    use_up_peer(&throttle, "192.0.2.1");
    wait_ms = failure_of(&throttle, "192.0.2.1", "one-more", NOW);
    assert_int_equal(wait_ms, THROTTLE_PEER_MS);
    assert_int_equal(check(&throttle, "192.0.2.1", "any", NOW), wait_ms);
    assert_int_equal(check(&throttle, "192.0.2.2", "any", NOW), 0); /* another address */
    /* A refusal costs nothing more; after the wait, exactly one more failure is allowed. */
    assert_int_equal(check(&throttle, "192.0.2.1", "any", NOW + wait_ms), 0);
    assert_int_equal(failure_of(&throttle, "192.0.2.1", "one-more", NOW + wait_ms), 0);
    assert_int_not_equal(failure_of(&throttle, "192.0.2.1", "one-more", NOW + wait_ms), 0);
    throttle_close(&throttle);
}

static void takes_a_network_of_version_6_for_one_peer(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_peer(&throttle, "2001:db8:0:1::1");
    assert_int_not_equal(check(&throttle, "2001:db8:0:1:ffff::2", "any", NOW), 0);
    assert_int_equal(check(&throttle, "2001:db8:0:2::1", "any", NOW), 0);
    throttle_close(&throttle);
}

static void holds_an_id_to_its_rate_from_wherever(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_id(&throttle, "guessed", false);
    assert_int_equal(check(&throttle, "10.1.0.1", "guessed", NOW), THROTTLE_ID_MS);
    assert_int_equal(check(&throttle, "10.1.0.1", "another", NOW), 0);
    assert_int_equal(check(&throttle, "10.1.0.1", "guessed", NOW + THROTTLE_ID_MS), 0);
    throttle_close(&throttle);
}

static void looks_up_a_client_that_exists_whoever_guesses_at_it(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_id(&throttle, "guessed", true);
    assert_int_not_equal(failure_of(&throttle, "10.1.0.1", "guessed", NOW), 0);
    assert_int_equal(check(&throttle, "10.1.0.1", "guessed", NOW), 0);
    throttle_close(&throttle);
}

static void forgets_what_failed_before_a_change(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_id(&throttle, "one", false);
    use_up_id(&throttle, "two", false);
    throttle_forget(&throttle, SLICE("one"));
    assert_int_equal(check(&throttle, "10.1.0.1", "one", NOW), 0);
    assert_int_not_equal(check(&throttle, "10.1.0.1", "two", NOW), 0);
    throttle_forget(&throttle, SLICE("*"));
    assert_int_equal(check(&throttle, "10.1.0.1", "two", NOW), 0);
    throttle_close(&throttle);
}

static void is_bounded(void **state)
{
    struct throttle throttle;
    char id[32];

    (void)state;
    throttle_open(&throttle);
    for (int i = 0; i != 2 * THROTTLE_MAX_ENTRIES; ++i) {
        snprintf(id, sizeof(id), "id-%d", i);
        (void)failure_of(&throttle, "192.0.2.1", id, NOW + (uint64_t)i * THROTTLE_PEER_MS);
    }
    assert_int_equal(lru_count(&throttle.tables[THROTTLE_ID]), THROTTLE_MAX_ENTRIES);
    throttle_close(&throttle);
}

static void an_address_that_is_refused_leaves_nothing(void **state)
{
    struct throttle throttle;
    char id[32];

    (void)state;
    throttle_open(&throttle);
    use_up_id(&throttle, "guessed", false);
    use_up_peer(&throttle, "192.0.2.1");
    for (int i = 0; i != 2 * THROTTLE_MAX_ENTRIES; ++i) {
        snprintf(id, sizeof(id), "id-%d", i);
        assert_int_not_equal(failure_of(&throttle, "192.0.2.1", id, NOW), 0);
    }
    assert_int_equal(lru_count(&throttle.tables[THROTTLE_ID]), 1 + THROTTLE_PEER_BURST);
    assert_int_not_equal(check(&throttle, "10.1.0.1", "guessed", NOW), 0);
    throttle_close(&throttle);
}

/* Failed look-ups from `count` addresses. */
static void miss(struct throttle *throttle, int count)
{
    for (int i = 0; i != count; ++i) {
        struct throttle_failure failure = {.looked_up = true};
        char peer[32], id[32];

        snprintf(id, sizeof(id), "made-up-%d", i);
        failure.id = slice_of(id);
        snprintf(peer, sizeof(peer), "10.2.%d.%d", i / 250, i % 250);
        failure.peer = address(peer);
        assert_int_equal(throttle_fail(throttle, &failure, NOW).wait_ms, 0);
    }
}

static enum throttle_by refused_by(struct throttle *throttle, const char *id, bool exists)
{
    struct throttle_failure failure = {.peer = address("10.1.0.1"),
                                       .id = slice_of(id),
                                       .exists = exists};
    struct throttle_refusal refusal = throttle_fail(throttle, &failure, NOW);

    return refusal.wait_ms != 0 ? refusal.by : THROTTLE_BY_COUNT;
}

static void holds_look_ups_that_find_nobody_to_a_rate(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    throttle_know(&throttle, SLICE("known"));
    miss(&throttle, THROTTLE_ALL_BURST - 1);
    assert_int_equal(check(&throttle, "10.1.0.1", "new", NOW), 0);
    miss(&throttle, 1);
    assert_int_equal(check(&throttle, "10.1.0.1", "new", NOW), THROTTLE_ALL_MS);
    assert_int_equal(check(&throttle, "10.1.0.1", "known", NOW), 0);
    assert_int_equal(check(&throttle, "10.1.0.1", "new", NOW + THROTTLE_ALL_MS), 0);
    throttle_close(&throttle);
}

/* Look-ups that began before the first of them failed. */
static void look_ups_at_once_count_beyond_the_burst(void **state)
{
    struct throttle_failure failure = {.peer = address("192.0.2.1"),
                                       .id = SLICE("made-up"),
                                       .looked_up = true};
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_peer(&throttle, "192.0.2.1");
    for (int i = 1; i != 101; ++i) {
        assert_int_not_equal(throttle_fail(&throttle, &failure, NOW).wait_ms, 0);
        assert_int_equal(check(&throttle, "192.0.2.1", "any", NOW), (i + 1) * THROTTLE_PEER_MS);
    }
    for (int i = 0; i != 1000; ++i)
        assert_int_not_equal(throttle_fail(&throttle, &failure, NOW).wait_ms, 0);
    assert_int_equal(check(&throttle, "192.0.2.1", "any", NOW), THROTTLE_DEBT_MS);
    assert_int_equal(check(&throttle, "192.0.2.1", "any", NOW + THROTTLE_DEBT_MS), 0);
    throttle_close(&throttle);
}

static void a_refusal_does_not_tell_which_ids_exist(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    use_up_id(&throttle, "there", true);
    use_up_id(&throttle, "not-there", false);
    assert_int_equal(refused_by(&throttle, "there", true), THROTTLE_ID);
    assert_int_equal(refused_by(&throttle, "not-there", false), THROTTLE_ID);
    miss(&throttle, THROTTLE_ALL_BURST);
    assert_int_equal(refused_by(&throttle, "there", true), THROTTLE_ALL);
    assert_int_equal(refused_by(&throttle, "not-there", false), THROTTLE_ALL);
    assert_int_equal(refused_by(&throttle, "new", true), THROTTLE_ALL);
    assert_int_equal(refused_by(&throttle, "newer", false), THROTTLE_ALL);
    assert_int_equal(refused_by(&throttle, "", false), THROTTLE_BY_COUNT); /* not a guess */
    throttle_close(&throttle);
}

static void keeps_look_ups_for_who_has_authenticated_lately(void **state)
{
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    throttle_know(&throttle, SLICE("known"));
    throttle_know(&throttle, SLICE("known"));
    use_up_peer(&throttle, "192.0.2.1");
    for (int i = 0; i != THROTTLE_KNOWN_BURST; ++i)
        assert_int_equal(check(&throttle, "192.0.2.1", "known", NOW), 0);
    assert_int_not_equal(check(&throttle, "192.0.2.1", "known", NOW), 0);
    assert_int_equal(check(&throttle, "192.0.2.1", "known", NOW + THROTTLE_KNOWN_MS), 0);
    assert_int_not_equal(check(&throttle, "192.0.2.1", "another", NOW), 0);
    assert_int_equal(check(&throttle, "192.0.2.2", "known", NOW), 0);
    throttle_close(&throttle);
}

static void takes_any_bytes_for_an_id(void **state)
{
    struct network_address peer = address("192.0.2.1");
    static const char bytes[300];
    struct throttle throttle;

    (void)state;
    throttle_open(&throttle);
    for (size_t length = 0; length != sizeof(bytes); length += 50) {
        struct slice id = {bytes, length};

        struct throttle_failure failure = {.peer = peer, .id = id};

        assert_int_equal(throttle_fail(&throttle, &failure, NOW).wait_ms, 0);
        assert_int_equal(throttle_check(&throttle, &peer, id, NOW).wait_ms, 0);
    }
    throttle_close(&throttle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(holds_an_address_to_its_rate),
        cmocka_unit_test(takes_a_network_of_version_6_for_one_peer),
        cmocka_unit_test(holds_an_id_to_its_rate_from_wherever),
        cmocka_unit_test(looks_up_a_client_that_exists_whoever_guesses_at_it),
        cmocka_unit_test(forgets_what_failed_before_a_change),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(an_address_that_is_refused_leaves_nothing),
        cmocka_unit_test(holds_look_ups_that_find_nobody_to_a_rate),
        cmocka_unit_test(look_ups_at_once_count_beyond_the_burst),
        cmocka_unit_test(a_refusal_does_not_tell_which_ids_exist),
        cmocka_unit_test(keeps_look_ups_for_who_has_authenticated_lately),
        cmocka_unit_test(takes_any_bytes_for_an_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
