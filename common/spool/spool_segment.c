#include "common/spool/spool_segment.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include "common/file.h"
#include "common/log.h"
#include "common/owner.h"

/* Anything after the last complete pass was never answered. */
bool spool_segment_read(struct spool_segment *segment, struct buffer *bytes,
                        struct failure *failure)
{
    struct failure cause;
    int fd = file_open(segment->directory, segment->name, O_RDONLY, SPOOL_SEGMENT_FILE_MAX, &cause);
    char *to = fd != -1 ? buffer_try_reserve(bytes, segment->bytes) : NULL;
    size_t size = 0;
    bool done = to != NULL && file_read(fd, to, segment->bytes, &size);

    if (!done) {
        failure_set(failure, "cannot read %s: %s", segment->path,
                    fd == -1 ? cause.reason : strerror(errno));
        segment->synced = false;
    }
    if (fd != -1)
        close(fd);
    bytes->size += size;
    return done;
}

bool spool_segment_sync_names(const struct spool_segment *segment)
{
    return file_sync_directory(segment->directory);
}

/* Failure costs only disk space. */
static void give_back_spare(struct spool_segment *segment, int fd)
{
    if (segment->has_spare && ftruncate(fd, (off_t)segment->bytes) == -1)
        log_warn("spool.truncate", log_str("path", segment->path),
                 log_str("reason", strerror(errno)));
    segment->has_spare = false;
}

enum spool_synced spool_segment_sync(struct spool_segment *segment, struct failure *failure)
{
    struct failure cause;
    int fd, error;

    if (segment->synced)
        return SPOOL_SYNCED;
    fd = file_open(segment->directory, segment->name, O_RDWR, SPOOL_SEGMENT_FILE_MAX, &cause);
    if (fd == -1 && errno == EROFS) {
        segment->has_spare = false; /* it stays reserved */
        fd = file_open(segment->directory, segment->name, O_RDONLY, SPOOL_SEGMENT_FILE_MAX, &cause);
    }
    error = errno;
    if (fd != -1) {
        give_back_spare(segment, fd);
        segment->synced = fdatasync(fd) == 0;
        error = errno;
        failure_set(&cause, "%s", strerror(error));
        close(fd);
    }
    if (segment->synced)
        return SPOOL_SYNCED;
    failure_set(failure, "cannot sync %s: %s", segment->path, cause.reason);
    return error == ENOENT || error == EIO || error == FILE_REFUSED ? SPOOL_LOST : SPOOL_NOT_NOW;
}

/* Removes anything planted under the hidden name first, so as not to write through it. */
static bool write_hidden(int base, const char *hidden, struct slice lines)
{
    bool written;
    int fd;

    if (unlinkat(base, hidden, 0) == -1 && errno != ENOENT)
        return false;
    fd = openat(base, hidden, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    owner_inherit(fd, base);
    written = fd != -1 && file_write(fd, lines.bytes, lines.length) && fsync(fd) == 0;
    if (fd != -1)
        close(fd);
    return written;
}

bool spool_segment_set_aside(const char *base, const char *name, const char *suffix,
                             struct slice lines, struct failure *failure)
{
    char hidden[NAME_MAX], *file = hidden + 1;
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done;

    snprintf(hidden, sizeof(hidden), ".%s.%s", name, suffix);
    if (lines.length == 0)
        done = fd != -1 && (unlinkat(fd, file, 0) == 0 ? file_sync_directory(fd)
                                                       : errno == ENOENT || errno == EISDIR);
    else
        done = fd != -1 && write_hidden(fd, hidden, lines) && renameat(fd, hidden, fd, file) == 0 &&
               file_sync_directory(fd);
    if (!done)
        failure_set(failure, "cannot %s %s/%s: %s", lines.length == 0 ? "remove" : "write", base,
                    file, strerror(errno));
    if (fd != -1)
        close(fd);
    return done;
}

void spool_segment_free(struct spool_segment *segment)
{
    free(segment->path);
    free(segment);
}

void spool_segment_free_all(struct spool_segment *segments)
{
    struct spool_segment *segment, *next;

    DL_FOREACH_SAFE (segments, segment, next)
        spool_segment_free(segment);
}

void spool_segment_discard(struct spool_segment *segment)
{
    if (unlinkat(segment->directory, segment->name, 0) == -1)
        log_error("spool.unlink", log_str("path", segment->path),
                  log_str("reason", strerror(errno))); /* the next sender finds that it was sent */
    spool_segment_free(segment);
}
