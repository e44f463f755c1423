/* Segments as files: reading, syncing, setting aside and bringing back, and those that other
 * processes left. See spool.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/owner.h"
#include "common/spool.h"

static bool read_file(int fd, struct buffer *bytes)
{
    ssize_t got;

    do {
        got = read(fd, buffer_reserve(bytes, 65536), 65536);
        if (got > 0)
            bytes->size += (size_t)got;
    } while (got > 0 || (got == -1 && errno == EINTR));
    return got == 0;
}

bool spool_read(struct spool_segment *segment, struct buffer *bytes, struct failure *failure)
{
    int fd = open(segment->path, O_RDONLY | O_CLOEXEC);
    size_t before = bytes->size;
    bool done = fd != -1 && read_file(fd, bytes);

    if (!done) {
        failure_set(failure, "cannot read %s: %s", segment->path, strerror(errno));
        segment->synced = false;
    }
    if (fd != -1)
        close(fd);
    /* What stands behind the last whole pass was never answered for. */
    if (bytes->size - before > segment->bytes)
        bytes->size = before + segment->bytes;
    return done;
}

bool spool_sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd != -1 && fsync(fd) == 0;

    if (fd != -1)
        close(fd);
    return done;
}

bool spool_sync_names(const struct spool_segment *segment)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(segment->path, '/');

    snprintf(directory, sizeof(directory), "%.*s", (int)(slash - segment->path), segment->path);
    return spool_sync_directory(directory);
}

enum spool_synced spool_sync(struct spool_segment *segment, struct failure *failure)
{
    int fd, error = 0;

    if (segment->synced)
        return SPOOL_SYNCED;
    /* Failing that costs room only. */
    if (segment->has_spare && truncate(segment->path, (off_t)segment->bytes) == -1)
        log_warn("spool.truncate", log_str("path", segment->path),
                 log_str("reason", strerror(errno)));
    segment->has_spare = false;
    fd = open(segment->path, O_RDONLY | O_CLOEXEC);
    segment->synced = fd != -1 && fdatasync(fd) == 0;
    if (!segment->synced) {
        error = errno;
        failure_set(failure, "cannot sync %s: %s", segment->path, strerror(error));
    }
    if (fd != -1)
        close(fd);
    if (segment->synced)
        return SPOOL_SYNCED;
    return error == ENOENT || error == EIO ? SPOOL_LOST : SPOOL_NOT_NOW;
}

bool spool_set_aside(const char *base, const struct uuid *id, const char *suffix,
                     struct slice lines, struct failure *failure)
{
    char name[UUID_TEXT_LENGTH], path[PATH_MAX], hidden[PATH_MAX];
    int fd;
    bool done;

    uuid_format(id, name);
    snprintf(path, sizeof(path), "%s/%.*s.%s", base, UUID_TEXT_LENGTH, name, suffix);
    snprintf(hidden, sizeof(hidden), "%s/.%.*s.%s", base, UUID_TEXT_LENGTH, name, suffix);
    if (lines.length == 0) {
        if (unlink(path) == 0 ? spool_sync_directory(base) : errno == ENOENT)
            return true;
        return failure_set(failure, "cannot remove %s: %s", path, strerror(errno));
    }
    fd = open(hidden, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    owner_inherit(fd, base);
    done = fd != -1 && write(fd, lines.bytes, lines.length) == (ssize_t)lines.length &&
           fsync(fd) == 0 && rename(hidden, path) == 0 && spool_sync_directory(base);
    if (!done)
        failure_set(failure, "cannot write %s: %s", path, strerror(errno));
    if (fd != -1)
        close(fd);
    return done;
}

static bool is_uuid(const char *name, struct uuid *id)
{
    return strlen(name) == UUID_TEXT_LENGTH && uuid_parse(slice_of(name), id);
}

/* Cuts a torn last line, or the NULs that a power loss left in its place, and counts the rest. */
static bool repair(const char *path, struct spool_segment *segment)
{
    struct buffer bytes = {0};
    int fd = open(path, O_RDWR | O_CLOEXEC);
    bool done = fd != -1 && read_file(fd, &bytes);
    const char *end = bytes.size != 0 ? memrchr(bytes.bytes, '\n', bytes.size) : NULL;

    segment->bytes = end != NULL ? (uint64_t)(end + 1 - bytes.bytes) : 0;
    if (done && segment->bytes != bytes.size) {
        log_warn("spool.repaired", log_str("path", path),
                 log_int("cut", (int64_t)(bytes.size - segment->bytes)));
        done = ftruncate(fd, (off_t)segment->bytes) == 0;
    }
    for (uint64_t i = 0; i != segment->bytes; ++i)
        segment->rows += bytes.bytes[i] == '\n';
    if (fd != -1)
        close(fd);
    buffer_dispose(&bytes);
    return done;
}

/* A segment that another process left, repaired; NULL when it cannot be read or has no rows. */
static struct spool_segment *find_segment(const char *directory, const struct uuid *id)
{
    struct spool_segment *segment = calloc(1, sizeof(*segment));
    char name[UUID_TEXT_LENGTH];

    if (segment == NULL)
        return NULL;
    uuid_format(id, name);
    segment->id = *id;
    segment->trigger = SPOOL_RECOVERY;
    if (asprintf(&segment->path, "%s/%.*s", directory, UUID_TEXT_LENGTH, name) < 0)
        segment->path = NULL;
    if (segment->path == NULL || !repair(segment->path, segment)) {
        log_error("spool.unreadable", log_str("path", segment->path),
                  log_str("reason", strerror(errno)));
        free(segment->path);
        free(segment);
        return NULL;
    }
    if (segment->rows == 0) {
        spool_discard(NULL, segment);
        return NULL;
    }
    return segment;
}

static int compare_segments(struct spool_segment *a, struct spool_segment *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id));
}

static struct spool_segment *list_segments(const char *directory)
{
    struct spool_segment *segments = NULL, *segment;
    DIR *stream = opendir(directory);
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        struct uuid id;

        if (is_uuid(entry->d_name, &id) && (segment = find_segment(directory, &id)) != NULL)
            DL_APPEND(segments, segment);
    }
    if (stream != NULL)
        closedir(stream);
    DL_SORT(segments, compare_segments);
    return segments;
}

/* The lock of a directory that is still where it was when it was locked, or -1. */
static int lock_directory(const char *path)
{
    struct stat locked, there;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd == -1)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &locked) == 0 && stat(path, &there) == 0 &&
        locked.st_ino == there.st_ino && locked.st_dev == there.st_dev)
        return fd;
    close(fd);
    return -1;
}

bool spool_adopt_directory(const char *path, struct spool_abandoned *abandoned)
{
    *abandoned = (struct spool_abandoned){.lock = lock_directory(path)};
    if (abandoned->lock == -1)
        return false;
    if ((abandoned->directory = strdup(path)) == NULL) {
        close(abandoned->lock);
        return false;
    }
    abandoned->segments = list_segments(path);
    return true;
}

static int is_process_directory(const struct dirent *entry)
{
    struct uuid id;

    return is_uuid(entry->d_name, &id);
}

bool spool_adopt(const char *base, const char *after, struct spool_abandoned *abandoned)
{
    struct dirent **entries;
    int count = scandir(base, &entries, is_process_directory, alphasort);
    bool adopted = false;

    *abandoned = (struct spool_abandoned){.lock = -1};
    for (int i = 0; i < count; ++i) {
        char path[PATH_MAX];

        snprintf(path, sizeof(path), "%s/%s", base, entries[i]->d_name);
        if (!adopted && strcmp(entries[i]->d_name, after) > 0)
            adopted = spool_adopt_directory(path, abandoned);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return adopted;
}

void spool_release(struct spool_abandoned *abandoned)
{
    spool_free(abandoned->segments);
    rmdir(abandoned->directory);
    free(abandoned->directory);
    close(abandoned->lock);
    *abandoned = (struct spool_abandoned){.lock = -1};
}

/* Somebody may have edited the file: a last line without its end would be cut as a torn one. */
static bool end_last_line(const char *path)
{
    int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    off_t size = fd != -1 ? lseek(fd, 0, SEEK_END) : -1;
    bool done = size == 0;
    char last;

    if (size > 0)
        done = pread(fd, &last, 1, size - 1) == 1 && (last == '\n' || write(fd, "\n", 1) == 1);
    if (fd != -1)
        close(fd);
    return done;
}

bool spool_bring_back(struct spool *spool, const struct spool_entry *entry,
                      struct spool_segment **segments, struct failure *failure)
{
    struct uuid_source *uuids = calloc(1, sizeof(*uuids));
    char name[UUID_TEXT_LENGTH], path[PATH_MAX];
    struct spool_segment *segment;
    struct uuid id;
    bool made = uuids != NULL && uuid_v7_make(uuids, clock_unix_ms(), &id);

    free(uuids);
    if (!made)
        return failure_set(failure, "the system gives no random bytes");
    uuid_format(&id, name);
    snprintf(path, sizeof(path), "%s/%.*s", spool->directory, UUID_TEXT_LENGTH, name);
    if (!end_last_line(entry->path) || rename(entry->path, path) == -1)
        return failure_set(failure, "cannot take %s: %s", entry->path, strerror(errno));
    if ((segment = find_segment(spool->directory, &id)) != NULL)
        DL_APPEND(*segments, segment);
    return true;
}
