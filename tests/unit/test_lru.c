/* common/lru: capacity, order of use, removal. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/lru.h"

static struct lru_entry entry(const char *key)
{
    return (struct lru_entry){.key = slice_of(key)};
}

static void finds_what_was_added(void **state)
{
    struct lru lru = {.capacity = 2};
    struct lru_entry a = entry("a");

    (void)state;
    assert_null(lru_find(&lru, SLICE("a")));
    assert_null(lru_add(&lru, &a));
    assert_ptr_equal(lru_find(&lru, SLICE("a")), &a);
    assert_null(lru_find(&lru, SLICE("aa")));
    assert_null(lru_find(&lru, SLICE("")));
    assert_int_equal(lru_count(&lru), 1);
    lru_remove(&lru, &a);
    assert_null(lru_find(&lru, SLICE("a")));
}

static void evicts_the_least_recently_used(void **state)
{
    struct lru lru = {.capacity = 3};
    struct lru_entry a = entry("a"), b = entry("b"), c = entry("c"), d = entry("d"), e = entry("e");

    (void)state;
    assert_null(lru_add(&lru, &a));
    assert_null(lru_add(&lru, &b));
    assert_null(lru_add(&lru, &c));
    assert_ptr_equal(lru_oldest(&lru), &a);
    assert_ptr_equal(lru_find(&lru, SLICE("a")), &a); /* a touch: now b is the oldest */
    assert_ptr_equal(lru_find(&lru, SLICE("c")), &c);
    assert_ptr_equal(lru_find(&lru, SLICE("c")), &c); /* the newest already: no change */
    assert_ptr_equal(lru_add(&lru, &d), &b);
    assert_ptr_equal(lru_add(&lru, &e), &a);
    assert_int_equal(lru_count(&lru), 3);
    lru_remove(&lru, &c);
    lru_remove(&lru, &d);
    lru_remove(&lru, &e);
    assert_null(lru_oldest(&lru));
}

static void holds_one_with_a_capacity_of_one(void **state)
{
    struct lru lru = {.capacity = 1};
    struct lru_entry a = entry("a"), b = entry("b");

    (void)state;
    assert_null(lru_add(&lru, &a));
    assert_ptr_equal(lru_find(&lru, SLICE("a")), &a);
    assert_ptr_equal(lru_add(&lru, &b), &a);
    assert_null(lru_find(&lru, SLICE("a")));
    assert_ptr_equal(lru_find(&lru, SLICE("b")), &b);
    lru_remove(&lru, &b);
}

static void walks_from_the_most_recently_used(void **state)
{
    struct lru lru = {.capacity = 3};
    struct lru_entry a = entry("a"), b = entry("b"), c = entry("c");

    (void)state;
    assert_null(lru_newest(&lru));
    assert_null(lru_peek(&lru, SLICE("a")));
    lru_add(&lru, &a);
    lru_add(&lru, &b);
    lru_add(&lru, &c);
    assert_ptr_equal(lru_find(&lru, SLICE("b")), &b);
    assert_ptr_equal(lru_peek(&lru, SLICE("a")), &a); /* no touch */
    assert_ptr_equal(lru_newest(&lru), &b);
    assert_ptr_equal(lru_older(&b), &c);
    assert_ptr_equal(lru_older(&c), &a);
    assert_null(lru_older(&a));
    lru_remove(&lru, &b);
    assert_ptr_equal(lru_newest(&lru), &c);
    lru_remove(&lru, &a);
    lru_remove(&lru, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_was_added),
        cmocka_unit_test(evicts_the_least_recently_used),
        cmocka_unit_test(holds_one_with_a_capacity_of_one),
        cmocka_unit_test(walks_from_the_most_recently_used),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
