/* common/memory_budget: what is condemned, in which order, and the most that is held. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/memory_budget.h"

#define KIB 1024

struct fixture {
    struct memory_budget budget;
    struct memory_holder one, other;
    struct memory_piece pieces[64];
};

static int open_fixture(void **state)
{
    static struct fixture fixture;

    memset(&fixture, 0, sizeof(fixture));
    memory_budget_open(&fixture.budget, 100 * KIB);
    fixture.one.budget = fixture.other.budget = &fixture.budget;
    for (size_t i = 0; i != 64; ++i)
        fixture.pieces[i].holder = i < 32 ? &fixture.one : &fixture.other;
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state)
{
    struct fixture *fixture = *state;

    for (size_t i = 0; i != 64; ++i)
        memory_budget_hold(&fixture->pieces[i], 0, 0);
    assert_int_equal(memory_budget_held(&fixture->budget), 0);
    memory_budget_close(&fixture->budget);
    return 0;
}

static void counts_what_is_held(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 8 * KIB, 8 * KIB);
    memory_budget_hold(&f->pieces[40], 16 * KIB, 16 * KIB);
    assert_int_equal(memory_budget_held(&f->budget), 24 * KIB);
    memory_budget_hold(&f->pieces[0], 64 * KIB, 64 * KIB);
    assert_int_equal(memory_budget_held(&f->budget), 80 * KIB);
    memory_budget_hold(&f->pieces[0], 1, 1);
    memory_budget_hold(&f->pieces[40], 0, 0);
    assert_int_equal(memory_budget_held(&f->budget), 1);
    assert_null(memory_budget_take_condemned(&f->one));
    assert_null(memory_budget_take_condemned(&f->other));
}

static void knows_the_most_that_was_held(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 80 * KIB, 80 * KIB);
    memory_budget_hold(&f->pieces[0], 0, 0);
    memory_budget_hold(&f->pieces[1], 8 * KIB, 8 * KIB);
    assert_int_equal(memory_budget_peak(&f->budget), 80 * KIB);
    assert_int_equal(memory_budget_peak(&f->budget), 8 * KIB);
}

static void the_limit_itself_is_allowed(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 50 * KIB, 50 * KIB);
    memory_budget_hold(&f->pieces[1], 50 * KIB, 50 * KIB);
    assert_null(memory_budget_take_condemned(&f->one));
    memory_budget_hold(&f->pieces[2], 1, 1);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[0]);
}

static void the_largest_goes_first_whoever_holds_it(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 8 * KIB, 8 * KIB);
    memory_budget_hold(&f->pieces[40], 64 * KIB, 64 * KIB);
    memory_budget_hold(&f->pieces[1], 16 * KIB, 16 * KIB);
    memory_budget_hold(&f->pieces[2], 16 * KIB, 16 * KIB);
    assert_null(memory_budget_take_condemned(&f->one));
    assert_ptr_equal(memory_budget_take_condemned(&f->other), &f->pieces[40]);
    assert_null(memory_budget_take_condemned(&f->other));
    assert_int_equal(memory_budget_held(&f->budget), 104 * KIB); /* until it is freed */
    memory_budget_hold(&f->pieces[40], 0, 0);
    assert_int_equal(memory_budget_held(&f->budget), 40 * KIB);
}

static void the_heaviest_goes_first_whatever_it_holds(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 60 * KIB, 1 * KIB);
    memory_budget_hold(&f->pieces[1], 20 * KIB, 1 * KIB + 1);
    memory_budget_hold(&f->pieces[2], 20 * KIB, 4 * KIB);
    memory_budget_hold(&f->pieces[3], 1 * KIB, 1);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[2]);
    memory_budget_hold(&f->pieces[0], 60 * KIB, 2 * KIB);
    memory_budget_hold(&f->pieces[0], 80 * KIB, 2 * KIB);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[1]);
}

static void of_one_weight_the_longest_there_goes_first(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i != 4; ++i)
        memory_budget_hold(&f->pieces[i], 20 * KIB, 20 * KIB);
    memory_budget_hold(&f->pieces[0], 8 * KIB, 8 * KIB);
    memory_budget_hold(&f->pieces[0], 20 * KIB, 20 * KIB); /* now it is the newest */
    memory_budget_hold(&f->pieces[4], 24 * KIB, 24 * KIB);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[1]);
    assert_null(memory_budget_take_condemned(&f->one));
}

static void as_many_go_as_it_takes(void **state)
{
    struct fixture *f = *state;

    for (size_t i = 0; i != 10; ++i)
        memory_budget_hold(&f->pieces[i], 10 * KIB, 10 * KIB);
    memory_budget_hold(&f->pieces[10], 15 * KIB, 15 * KIB);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[0]);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[1]);
    assert_null(memory_budget_take_condemned(&f->one));
}

static void one_that_is_larger_than_all_goes_itself(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[0], 8 * KIB, 8 * KIB);
    memory_budget_hold(&f->pieces[1], SIZE_MAX / 4, SIZE_MAX / 4);
    assert_ptr_equal(memory_budget_take_condemned(&f->one), &f->pieces[1]);
    assert_null(memory_budget_take_condemned(&f->one));
}

static void what_is_given_back_need_not_be_taken(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[40], 80 * KIB, 80 * KIB);
    memory_budget_hold(&f->pieces[0], 40 * KIB, 40 * KIB);
    memory_budget_hold(&f->pieces[40], 0, 0);
    assert_null(memory_budget_take_condemned(&f->other));
    assert_int_equal(memory_budget_held(&f->budget), 40 * KIB);
    memory_budget_hold(&f->pieces[40], 8 * KIB, 8 * KIB); /* it counts again */
    assert_int_equal(memory_budget_held(&f->budget), 48 * KIB);
}

static void what_is_condemned_stays_so_while_it_changes(void **state)
{
    struct fixture *f = *state;

    memory_budget_hold(&f->pieces[40], 80 * KIB, 80 * KIB);
    memory_budget_hold(&f->pieces[0], 40 * KIB, 40 * KIB);
    memory_budget_hold(&f->pieces[40], 8 * KIB, 8 * KIB);
    assert_ptr_equal(memory_budget_take_condemned(&f->other), &f->pieces[40]);
    memory_budget_hold(&f->pieces[40], 90 * KIB, 90 * KIB);
    assert_null(memory_budget_take_condemned(&f->other));
}

/* A holder whose thread is stuck frees nothing. */
static void never_more_than_twice_the_limit(void **state)
{
    struct fixture *f = *state;
    struct memory_piece *piece;

    for (size_t i = 0; i != 10; ++i)
        memory_budget_hold(&f->pieces[40 + i], 10 * KIB, 10 * KIB);
    for (size_t round = 0; round != 100; ++round) {
        for (size_t i = 0; i != 32; ++i) {
            memory_budget_hold(&f->pieces[i], (8 + i) * KIB, (8 + i) * KIB);
            assert_true(memory_budget_held(&f->budget) <= 200 * KIB + (8 + i) * KIB);
            while ((piece = memory_budget_take_condemned(&f->one)) != NULL)
                memory_budget_hold(piece, 0, 0);
            assert_true(memory_budget_held(&f->budget) <= 200 * KIB);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)
        TEST(counts_what_is_held),
        TEST(knows_the_most_that_was_held),
        TEST(the_limit_itself_is_allowed),
        TEST(the_largest_goes_first_whoever_holds_it),
        TEST(the_heaviest_goes_first_whatever_it_holds),
        TEST(of_one_weight_the_longest_there_goes_first),
        TEST(as_many_go_as_it_takes),
        TEST(one_that_is_larger_than_all_goes_itself),
        TEST(what_is_given_back_need_not_be_taken),
        TEST(what_is_condemned_stays_so_while_it_changes),
        TEST(never_more_than_twice_the_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
