#include "common/file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Without O_NONBLOCK, opening a pipe would block. */
#define SAFE_FLAGS (O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static bool is_read_only(int fd)
{
    struct statvfs status;

    return fstatvfs(fd, &status) == 0 && (status.f_flag & ST_RDONLY) != 0;
}

/* A root process does not trust a file for being its own: it would read it for somebody who may
 * not. */
static bool is_trusted(uid_t owner, uid_t directory_owner, bool given)
{
    return owner == directory_owner || (given && owner == 0) ||
           (owner == geteuid() && geteuid() != 0);
}

static bool is_fine(int fd, int directory, uint64_t max_bytes, bool given, struct failure *failure)
{
    struct stat file, around;

    if (fstat(fd, &file) == -1 || fstat(directory, &around) == -1)
        return failure_set(failure, "%s", strerror(errno));
    errno = FILE_REFUSED;
    if (!S_ISREG(file.st_mode))
        return failure_set(failure, "it is not a regular file");
    if ((uint64_t)file.st_size > max_bytes)
        return failure_set(failure, "it has %jd bytes, more than %" PRIu64, (intmax_t)file.st_size,
                           max_bytes);
    if (given && is_read_only(fd))
        return true;
    if (file.st_nlink > 1)
        return failure_set(failure, "it has another name too (a hard link)");
    return is_trusted(file.st_uid, around.st_uid, given) ||
           failure_set(failure, "it belongs to user %u, the directory to user %u", file.st_uid,
                       around.st_uid);
}

/* Why open failed, when the file itself is the cause; otherwise NULL. */
static const char *refusal(int error)
{
    switch (error) {
    case ELOOP:
        return "it is a link";
    case EISDIR:
    case ENODEV: /* a device */
    case ENXIO:  /* a pipe or a socket */
        return "it is not a regular file";
    case ENOTDIR:
        return "it is not a directory";
    case EXDEV:
        return "it is a link that leads out of the directory";
    case ENOSYS:
        return "it is a link, and openat2(2), which would keep to the directory, is missing "
               "(before "
               "Linux 5.6) or forbidden";
    default:
        return NULL;
    }
}

static int fail(int error, struct failure *failure)
{
    const char *refused = refusal(error);

    failure_set(failure, "%s", refused != NULL ? refused : strerror(error));
    errno = refused != NULL ? FILE_REFUSED : error;
    return -1;
}

/* Takes ownership of `fd`, which may be -1; returns it, or -1. */
static int check(int fd, int directory, uint64_t max_bytes, bool given, struct failure *failure)
{
    int error;

    if (fd == -1)
        return fail(errno, failure);
    if (is_fine(fd, directory, max_bytes, given, failure))
        return fd;
    error = errno;
    close(fd);
    errno = error;
    return -1;
}

int file_open(int directory, const char *name, int flags, uint64_t max_bytes,
              struct failure *failure)
{
    return check(openat(directory, name, flags | O_NOFOLLOW | SAFE_FLAGS), directory, max_bytes,
                 false, failure);
}

/* Kubernetes mounts each file of a secret as a link through another link that it swaps. */
static int open_beneath(int directory, const char *name)
{
    struct open_how how = {.flags = O_RDONLY | SAFE_FLAGS,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, directory, name, &how, sizeof(how));

    if (fd == -1 && errno == EPERM) /* how a seccomp filter rejects unknown system calls */
        errno = ENOSYS;
    return fd;
}

int file_open_given(int directory, const char *name, uint64_t max_bytes, struct failure *failure)
{
    int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | SAFE_FLAGS);

    if (fd == -1 && errno == ELOOP)
        fd = open_beneath(directory, name);
    return check(fd, directory, max_bytes, true, failure);
}

int file_open_directory(int directory, const char *name, struct failure *failure)
{
    int fd = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | SAFE_FLAGS);

    return fd != -1 ? fd : fail(errno, failure);
}

bool file_read(int fd, char *bytes, size_t length, size_t *done)
{
    ssize_t got = 1;

    for (*done = 0; *done != length && got != 0; *done += got > 0 ? (size_t)got : 0) {
        if ((got = read(fd, bytes + *done, length - *done)) == -1 && errno != EINTR)
            return false;
    }
    return true;
}

bool file_write(int fd, const char *bytes, size_t length)
{
    while (length != 0) {
        ssize_t written = write(fd, bytes, length);

        if (written == -1 && errno != EINTR)
            return false;
        if (written > 0) {
            bytes += written;
            length -= (size_t)written;
        }
    }
    return true;
}

bool file_sync_directory(int directory)
{
    return fsync(directory) == 0 || errno == EINVAL || errno == ENOSYS || errno == ENOTSUP;
}

bool file_is_at(int fd, int directory, const char *name)
{
    struct stat opened, there;

    return fstat(fd, &opened) == 0 && fstatat(directory, name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           opened.st_dev == there.st_dev && opened.st_ino == there.st_ino;
}

bool file_count_lines(int fd, uint64_t max_bytes, struct file_lines *lines)
{
    char piece[65536];
    ssize_t got;

    *lines = (struct file_lines){0};
    while ((got = read(fd, piece, sizeof(piece))) > 0 || (got == -1 && errno == EINTR)) {
        const char *from = piece, *end;

        while (got > 0 && (end = memchr(from, '\n', (size_t)(piece + got - from))) != NULL) {
            from = end + 1;
            ++lines->count;
            lines->bytes = lines->size + (uint64_t)(from - piece);
        }
        lines->size += got > 0 ? (uint64_t)got : 0;
        if (lines->size > max_bytes) {
            errno = EFBIG;
            return false;
        }
    }
    return got == 0;
}
