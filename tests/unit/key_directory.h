/* A key directory for each test, and operations on it. */
#ifndef TESTS_KEY_DIRECTORY_H
#define TESTS_KEY_DIRECTORY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"
#include "auth/token/key_name.h"

#define NOW 1700000000 /* epoch seconds */

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, open_directory, remove_directory)

static char directory[64];

static inline void path_of(const char *name, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%s", directory, name);
}

static inline int open_directory(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "%s", "/tmp/jotd-keys-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static inline int remove_directory(void **state)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;

    (void)state;
    while ((entry = readdir(stream)) != NULL)
        (void)unlinkat(dirfd(stream), entry->d_name, 0);
    closedir(stream);
    return rmdir(directory);
}

static inline struct key_set *load(void)
{
    struct failure failure;
    struct key_set *set = key_directory_load(directory, &failure);

    if (set == NULL)
        fail_msg("%s", failure.reason);
    return set;
}

/* The number of usable keys. */
static inline size_t count_loaded(void)
{
    struct key_set *set = load();
    size_t count = set->count;

    key_set_release(set);
    return count;
}

static inline void create(enum key_alg alg, int64_t activate_at, char kid[KEY_KID_LENGTH + 1])
{
    struct failure failure;

    if (!key_file_create(directory, alg, activate_at, kid, &failure))
        fail_msg("%s", failure.reason);
}

static inline const struct signing_key *find(const struct key_set *set, const char *kid)
{
    for (size_t i = 0; i < set->count; ++i) {
        if (strcmp(set->keys[i].kid, kid) == 0)
            return &set->keys[i];
    }
    return NULL;
}

static inline void retire(const char *kid, int64_t retire_at)
{
    struct key_set *set = load();
    struct failure failure;

    if (!key_file_retire(directory, find(set, kid), retire_at, &failure))
        fail_msg("%s", failure.reason);
    key_set_release(set);
}

static inline void write_file(const char *name, const char *text, size_t length)
{
    char path[PATH_MAX];
    int fd;

    path_of(name, path);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    close(fd);
}

/* Returns the name and text of the only key file. */
static inline void only_file(char name[KEY_NAME_SIZE], char text[8192])
{
    struct key_set *set = load();
    char path[PATH_MAX];
    FILE *file;

    assert_int_equal(set->count, 1);
    key_name_write(&set->keys[0], name);
    key_set_release(set);
    path_of(name, path);
    assert_non_null(file = fopen(path, "r"));
    text[fread(text, 1, 8191, file)] = '\0';
    fclose(file);
}

static inline void move(const char *from, const char *to)
{
    char old_path[PATH_MAX], new_path[PATH_MAX];

    path_of(from, old_path);
    path_of(to, new_path);
    assert_int_equal(rename(old_path, new_path), 0);
}

#endif
