/* common/file: what is opened, and what is refused for its type. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"

#define MAX 1000

static char base[64];
static int directory; /* <base>/in */

static void path_of(const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/in/%s", base, name);
}

static void write_file(const char *name, const char *text)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static int set_up(void **state)
{
    char path[PATH_MAX];

    (void)state;
    snprintf(base, sizeof(base), "%s", "/tmp/jotd-file-XXXXXX");
    if (mkdtemp(base) == NULL)
        return -1;
    path_of("", path);
    if (mkdir(path, 0700) == -1 || (directory = open(path, O_RDONLY | O_DIRECTORY)) == -1)
        return -1;
    write_file("plain", "one\ntwo\n");
    write_file("../outside", "secret\n");
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static int tear_down(void **state)
{
    (void)state;
    close(directory);
    return nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

typedef int opener(const char *name, struct failure *failure);

static int open_to_read(const char *name, struct failure *failure)
{
    return file_open(directory, name, O_RDONLY, MAX, failure);
}

static int open_to_write(const char *name, struct failure *failure)
{
    return file_open(directory, name, O_WRONLY, MAX, failure);
}

static int open_to_change(const char *name, struct failure *failure)
{
    return file_open(directory, name, O_RDWR | O_APPEND, MAX, failure);
}

static int open_given(const char *name, struct failure *failure)
{
    return file_open_given(directory, name, MAX, failure);
}

static opener *const openers[] = {open_to_read, open_to_write, open_to_change, open_given};

static void assert_opens(opener *open_file, const char *name)
{
    struct failure failure;
    int fd = open_file(name, &failure);

    if (fd == -1)
        fail_msg("%s: %s", name, failure.reason);
    close(fd);
}

static void assert_refuses(opener *open_file, const char *name, const char *reason)
{
    struct failure failure = {""};

    assert_int_equal(open_file(name, &failure), -1);
    assert_int_equal(errno, FILE_REFUSED);
    if (strstr(failure.reason, reason) == NULL)
        fail_msg("%s: %s", name, failure.reason);
}

static void test_a_plain_file(void **state)
{
    struct failure failure;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(openers); ++i) {
        assert_opens(openers[i], "plain");
        assert_int_equal(openers[i]("none", &failure), -1);
        assert_int_equal(errno, ENOENT);
        assert_non_null(strstr(failure.reason, "No such file"));
    }
}

/* None of these blocks either. */
static void test_what_is_no_file(void **state)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    char path[PATH_MAX];

    (void)state;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/in/socket", base);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    path_of("pipe", path);
    assert_int_equal(mkfifo(path, 0600), 0);
    path_of("directory", path);
    assert_int_equal(mkdir(path, 0700), 0);
    for (size_t i = 0; i != COUNT_OF(openers); ++i) {
        assert_refuses(openers[i], "socket", "not a regular file");
        assert_refuses(openers[i], "pipe", "not a regular file");
        assert_refuses(openers[i], "directory", "not a regular file");
    }
    close(listener);
}

static void test_a_bound(void **state)
{
    char path[PATH_MAX];

    (void)state;
    path_of("plain", path);
    assert_int_equal(truncate(path, MAX), 0);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_opens(openers[i], "plain");
    assert_int_equal(truncate(path, (off_t)3 << 30), 0);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_refuses(openers[i], "plain", "it has 3221225472 bytes, more than 1000");
}

static void test_a_second_name(void **state)
{
    (void)state;
    assert_int_equal(linkat(directory, "../outside", directory, "linked", 0), 0);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_refuses(openers[i], "linked", "another name");
    assert_int_equal(unlinkat(directory, "../outside", 0), 0);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_opens(openers[i], "linked");
}

static void test_links(void **state)
{
    static const struct {
        const char *target, *refused;
    } links[] = {
        {"plain", NULL},
        {"sub/there", NULL},
        {"../outside", "leads out"},
        {"/etc/hostname", "leads out"},
        {"../in/plain", "leads out"},
        {"sub/../../outside", "leads out"},
        {"/proc/self/fd/0", "leads out"},
        {"link", "is a link"}, /* itself */
    };
    char path[PATH_MAX];

    (void)state;
    path_of("sub", path);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file("sub/there", "");
    for (size_t i = 0; i != COUNT_OF(links); ++i) {
        assert_int_equal(symlinkat(links[i].target, directory, "link"), 0);
        assert_refuses(open_to_read, "link", "is a link");
        assert_refuses(open_to_write, "link", "is a link");
        assert_refuses(open_to_change, "link", "is a link");
        if (links[i].refused == NULL)
            assert_opens(open_given, "link");
        else
            assert_refuses(open_given, "link", links[i].refused);
        assert_int_equal(unlinkat(directory, "link", 0), 0);
    }
}

/* As a kubelet mounts the keys of a secret; one rename replaces them with a new version. */
static void test_the_links_of_a_kubelet(void **state)
{
    char path[PATH_MAX];

    (void)state;
    path_of("..2026_01_01", path);
    assert_int_equal(mkdir(path, 0755), 0);
    write_file("..2026_01_01/key", "");
    assert_int_equal(symlinkat("..2026_01_01", directory, "..data"), 0);
    assert_int_equal(symlinkat("..data/key", directory, "key"), 0);
    assert_opens(open_given, "key");
}

static void give(const char *name, uid_t owner)
{
    assert_int_equal(fchownat(directory, name, owner, (gid_t)-1, 0), 0);
}

static void test_owners(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    give("plain", 65534);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_refuses(openers[i], "plain", "it belongs to user 65534, the directory to user 0");
    give(".", 65534);
    for (size_t i = 0; i != COUNT_OF(openers); ++i)
        assert_opens(openers[i], "plain");
    /* A directory's owner cannot make root read root's files for him. */
    give("plain", 0);
    assert_refuses(open_to_read, "plain", "it belongs to user 0, the directory to user 65534");
    assert_opens(open_given, "plain");
    /* A user other than root uses his own files, whoever owns the directory. */
    give("plain", 65534);
    give(".", 0);
    assert_int_equal(fchmod(directory, 0755), 0);
    assert_int_equal(chmod(base, 0755), 0);
    assert_int_equal(seteuid(65534), 0);
    assert_opens(open_to_read, "plain");
    assert_int_equal(seteuid(0), 0);
}

/* Runs in its own namespace. Exits with 0 on success, with 77 if mounting is not allowed. */
static void look_at_a_read_only_mount(void)
{
    struct failure failure;
    char path[PATH_MAX];
    int read_only;

    path_of("", path);
    if (unshare(CLONE_NEWNS) == -1 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == -1 ||
        mount(path, path, NULL, MS_BIND, NULL) == -1 ||
        mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == -1)
        _exit(77);
    read_only = open(path, O_RDONLY | O_DIRECTORY);
    _exit(file_open_given(read_only, "plain", MAX, &failure) != -1 &&
                  file_open(read_only, "plain", O_RDONLY, MAX, &failure) == -1 &&
                  file_open_given(read_only, "large", MAX, &failure) == -1
              ? 0
              : 1);
}

static void test_a_read_only_mount(void **state)
{
    char path[PATH_MAX];
    int status;
    pid_t child;

    (void)state;
    if (geteuid() != 0)
        skip();
    give("plain", 65534);
    assert_int_equal(linkat(directory, "plain", directory, "linked", 0), 0);
    write_file("large", "");
    assert_int_equal(fchmodat(directory, ".", 01777, 0), 0);
    path_of("large", path);
    assert_int_equal(truncate(path, MAX + 1), 0);
    if ((child = fork()) == 0)
        look_at_a_read_only_mount();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_directories(void **state)
{
    struct failure failure;
    char path[PATH_MAX];
    int fd;

    (void)state;
    path_of("sub", path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(symlinkat("sub", directory, "link"), 0);
    assert_int_equal(file_open_directory(directory, "none", &failure), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(file_open_directory(directory, "plain", &failure), -1);
    assert_int_equal(errno, FILE_REFUSED);
    assert_int_equal(file_open_directory(directory, "link", &failure), -1);
    assert_int_equal(errno, FILE_REFUSED);
    assert_string_equal(failure.reason, "it is not a directory");
    assert_true((fd = file_open_directory(directory, "sub", &failure)) != -1);
    assert_true(file_is_at(fd, directory, "sub"));
    assert_false(file_is_at(fd, directory, "link"));
    assert_int_equal(rmdir(path), 0);
    assert_false(file_is_at(fd, directory, "sub"));
    close(fd);
}

static struct file_lines count(const char *text, size_t length, uint64_t max)
{
    struct file_lines lines;
    int fd = openat(directory, "text", O_RDWR | O_CREAT | O_TRUNC, 0600);

    assert_int_equal(write(fd, text, length), length);
    lseek(fd, 0, SEEK_SET);
    if (!file_count_lines(fd, max, &lines))
        lines.size = UINT64_MAX;
    close(fd);
    return lines;
}

static void assert_counts(const char *text, size_t length, uint64_t whole, uint64_t bytes)
{
    struct file_lines lines = count(text, length, MAX);

    assert_int_equal(lines.count, whole);
    assert_int_equal(lines.bytes, bytes);
    assert_int_equal(lines.size, length);
}

static void test_lines(void **state)
{
    size_t length = 3 * 65536;
    char *text = malloc(length);

    (void)state;
    assert_counts("", 0, 0, 0);
    assert_counts("torn", 4, 0, 0);
    assert_counts("a\nb\n", 4, 2, 4);
    assert_counts("a\nto", 4, 1, 2);
    assert_counts("a\n\0\0\0", 5, 1, 2);
    assert_counts("\n\n", 2, 2, 2);

    /* Across the pieces in which it is read. */
    memset(text, 'x', length);
    text[65535] = text[65536] = text[2 * 65536] = '\n';
    assert_int_equal(count(text, length, length).count, 3);
    assert_int_equal(count(text, length, length).bytes, 2 * 65536 + 1);
    assert_int_equal(count(text, length, length - 1).size, UINT64_MAX);
    free(text);
}

#define IN_BASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BASE(test_a_plain_file), IN_BASE(test_what_is_no_file),
        IN_BASE(test_a_bound),      IN_BASE(test_a_second_name),
        IN_BASE(test_links),        IN_BASE(test_the_links_of_a_kubelet),
        IN_BASE(test_owners),       IN_BASE(test_a_read_only_mount),
        IN_BASE(test_directories),  IN_BASE(test_lines),
    };

    return cmocka_run_group_tests_name("file", tests, NULL, NULL);
}
