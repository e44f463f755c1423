/* common/owner: root in another user's directory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/owner.h"

#define OTHER 65534

static char directory[64];

static int set_up(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "%s", "/tmp/jotd-owner-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    return rmdir(directory);
}

/* In a child process, since it is irreversible. */
static uid_t become(const char *path)
{
    int result[2];
    uid_t ids[4] = {0};

    assert_int_equal(pipe(result), 0);
    if (fork() == 0) {
        struct failure failure;
        gid_t groups[64];
        bool done = owner_become(path, &failure);

        getresuid(&ids[0], &ids[1], &ids[2]);
        ids[3] = done && (getuid() == 0 || (setuid(0) == -1 && setgid(0) == -1));
        for (int i = getgroups(64, groups); i-- > 0 && getuid() != 0;)
            ids[3] = ids[3] && groups[i] != 0;
        _exit(write(result[1], ids, sizeof(ids)) == sizeof(ids) ? 0 : 1);
    }
    assert_int_equal(wait(NULL) > 0, 1);
    assert_int_equal(read(result[0], ids, sizeof(ids)), sizeof(ids));
    close(result[0]);
    close(result[1]);
    assert_true(ids[3]);
    assert_true(ids[0] == ids[1] && ids[1] == ids[2]);
    return ids[0];
}

static void test_root_becomes_the_owner_for_good(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(become(directory), 0);
    assert_int_equal(become("/nowhere"), 0);
    assert_int_equal(chown(directory, OTHER, OTHER), 0);
    assert_int_equal(become(directory), OTHER);
    assert_int_equal(chown(directory, 54321, 54321), 0); /* unknown to the system */
    assert_int_equal(become(directory), 54321);
}

static void test_nobody_else_becomes_anybody(void **state)
{
    struct failure failure;

    (void)state;
    if (geteuid() == 0) {
        assert_int_equal(chown(directory, 54321, 54321), 0);
        assert_int_equal(seteuid(OTHER), 0);
    }
    assert_true(owner_become(directory, &failure));
    assert_int_not_equal(geteuid(), 54321);
    assert_int_equal(seteuid(getuid()), 0);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(test_root_becomes_the_owner_for_good),
        IN_DIRECTORY(test_nobody_else_becomes_anybody),
    };

    return cmocka_run_group_tests_name("owner", tests, NULL, NULL);
}
