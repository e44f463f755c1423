/* common/memory_limit: the cgroups named by /proc/self/cgroup, below a directory that replaces
 * /sys/fs/cgroup. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/memory_limit.h"

static char root[64];

/* Creates a file below the root, with its parent directories. */
static void write_file(const char *path, const char *text)
{
    char whole[512];
    FILE *file;

    snprintf(whole, sizeof(whole), "%s/%s", root, path);
    for (char *slash = whole + 1; (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
        *slash = '\0';
        mkdir(whole, 0700);
    }
    assert_non_null(file = fopen(whole, "w"));
    fputs(text, file);
    fclose(file);
}

static uint64_t limit(const char *list)
{
    char path[128];

    write_file("self", list);
    snprintf(path, sizeof(path), "%s/self", root);
    return memory_limit_of_cgroups(path, root);
}

static int make_root(void **state)
{
    (void)state;
    strcpy(root, "/tmp/jotd-test-memory-XXXXXX");
    return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", root);
    return system(command); /* NOLINT(cert-env33-c): a name made here */
}

static void none(void **state)
{
    (void)state;
    assert_true(memory_limit_of_cgroups("/nowhere", root) == UINT64_MAX);
    assert_true(limit("") == UINT64_MAX);
    assert_true(limit("0::/a\n") == UINT64_MAX);
    assert_true(limit("rubbish\n1:\n\n::\n4:memory:/a\n") == UINT64_MAX);
    write_file("memory.max", "max\n");
    assert_true(limit("0::/a\n") == UINT64_MAX);
}

static void of_version_2(void **state)
{
    (void)state;
    write_file("a/b/memory.max", "536870912\n");
    assert_int_equal(limit("0::/a/b\n"), 536870912);
    assert_true(limit("0::/a\n") == UINT64_MAX);
    write_file("a/memory.max", "268435456\n");
    assert_int_equal(limit("0::/a/b\n"), 268435456);
    write_file("a/b/memory.max", "max\n");
    assert_int_equal(limit("0::/a/b\n"), 268435456);
    assert_int_equal(limit("0::/a/b/c\n"), 268435456);
}

static void of_version_1(void **state)
{
    (void)state;
    write_file("memory/a/b/memory.limit_in_bytes", "536870912\n");
    write_file("memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit("9:cpu:/x\n4:memory:/a/b\n0::/\n"), 536870912);
    assert_int_equal(limit("4:cpu,memory:/a/b\n"), 536870912);
    assert_true(limit("4:memoryx:/a/b\n4:cpu:/a/b\n4:name=memory:/a/b\n") == UINT64_MAX);
}

/* A container sees its own cgroup as the root, but its path may be the one on the host. */
static void in_a_container(void **state)
{
    (void)state;
    write_file("memory.max", "536870912\n");
    assert_int_equal(limit("0::/\n"), 536870912);
    assert_int_equal(limit("0::/../../pods/x\n"), 536870912);
    write_file("memory/memory.limit_in_bytes", "268435456\n");
    assert_int_equal(limit("4:memory:/docker/0123\n"), 268435456);
}

static void of_this_process(void **state)
{
    uint64_t machine = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    (void)state;
    assert_in_range(memory_limit(), 1, machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
        TEST(none),           TEST(of_version_2),    TEST(of_version_1),
        TEST(in_a_container), TEST(of_this_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
