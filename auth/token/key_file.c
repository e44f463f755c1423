#include "auth/token/key_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/token/key_material.h"
#include "auth/token/key_name.h"
#include "auth/token/key_set.h"
#include "common/file.h"
#include "common/owner.h"

int key_file_lock(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd != -1)
        flock(fd, LOCK_EX);
    return fd;
}

static int open_directory(const char *directory, struct failure *failure)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        failure_set(failure, "cannot open the key directory %s: %s", directory, strerror(errno));
    return fd;
}

static bool sync_directory(int directory_fd, const char *directory, struct failure *failure)
{
    return file_sync_directory(directory_fd) ||
           failure_set(failure, "cannot write the key directory %s to disk: %s", directory,
                       strerror(errno));
}

/* A reader never sees half a key: it ignores names that begin with a dot, and the rename follows
 * only once the content is on disk. */
static bool write_key(int directory_fd, const char *directory, const char *name, const char *pem,
                      struct failure *failure)
{
    char hidden[KEY_NAME_SIZE + 1];
    bool written;
    int fd, error;

    snprintf(hidden, sizeof(hidden), ".%s", name);
    fd = openat(directory_fd, hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failure_set(failure, "cannot write to the key directory %s: %s", directory,
                           strerror(errno));
    owner_inherit(fd, directory_fd);
    written = file_write(fd, pem, strlen(pem)) && fsync(fd) == 0 &&
              renameat(directory_fd, hidden, directory_fd, name) == 0;
    error = errno;
    close(fd);
    if (written)
        return sync_directory(directory_fd, directory, failure);
    unlinkat(directory_fd, hidden, 0);
    return failure_set(failure, "cannot write to the key directory %s: %s", directory,
                       strerror(error));
}

static bool has_room(const char *directory, struct failure *failure)
{
    DIR *stream = opendir(directory);
    struct dirent *entry;
    size_t count = 0;

    if (stream == NULL)
        return failure_set(failure, "cannot read the key directory %s: %s", directory,
                           strerror(errno));
    while ((entry = readdir(stream)) != NULL)
        count += key_name_counts(entry->d_name);
    closedir(stream);
    return count < KEY_SET_MAX ||
           failure_set(failure, "the key directory %s is full (%d keys); run `jotd key prune`",
                       directory, KEY_SET_MAX);
}

bool key_file_create(const char *directory, enum key_alg alg, int64_t activate_at,
                     char kid[KEY_KID_LENGTH + 1], struct failure *failure)
{
    struct signing_key key = {.alg = alg, .activate_at = activate_at};
    char name[KEY_NAME_SIZE];
    char *pem;
    bool written;
    int fd;

    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return failure_set(failure, "cannot make the key directory %s: %s", directory,
                           strerror(errno));
    if (!has_room(directory, failure) || (fd = open_directory(directory, failure)) < 0)
        return false;
    /* A file name that begins with - is a nuisance on every command line. */
    while ((pem = key_material_make(alg, key.kid, failure)) != NULL && key.kid[0] == '-')
        key_material_free(pem, strlen(pem));
    if (pem == NULL) {
        close(fd);
        return false;
    }
    key_name_write(&key, name);
    written = write_key(fd, directory, name, pem, failure);
    key_material_free(pem, strlen(pem));
    close(fd);
    if (written)
        memcpy(kid, key.kid, sizeof(key.kid));
    return written;
}

static bool fail_changed(struct failure *failure, const char *directory, const char *name)
{
    if (errno == ENOENT)
        return failure_set(
            failure,
            "the key %s/%s is gone: somebody else changed the directory; see `jotd key list`",
            directory, name);
    return failure_set(failure, "cannot change the key %s/%s: %s", directory, name,
                       strerror(errno));
}

bool key_file_retire(const char *directory, const struct signing_key *key, int64_t retire_at,
                     struct failure *failure)
{
    struct signing_key retired = *key;
    char name[KEY_NAME_SIZE], new_name[KEY_NAME_SIZE];
    int fd = open_directory(directory, failure);
    bool done;

    if (fd < 0)
        return false;
    retired.retire_at = retire_at;
    key_name_write(key, name);
    key_name_write(&retired, new_name);
    done = renameat(fd, name, fd, new_name) == 0 ? sync_directory(fd, directory, failure)
                                                 : fail_changed(failure, directory, name);
    close(fd);
    return done;
}

bool key_file_remove(const char *directory, const struct signing_key *key, struct failure *failure)
{
    char name[KEY_NAME_SIZE];
    int fd = open_directory(directory, failure);
    bool done;

    if (fd < 0)
        return false;
    key_name_write(key, name);
    done = unlinkat(fd, name, 0) == 0 ? sync_directory(fd, directory, failure)
                                      : fail_changed(failure, directory, name);
    close(fd);
    return done;
}
