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
#include "common/file.h"
#include "common/log.h"
#include "common/map.h"
#include "common/owner.h"
#include "common/spool/spool.h"

/* What stands behind the last whole pass was never answered for. */
bool spool_read(struct spool_segment *segment, struct buffer *bytes, struct failure *failure)
{
    struct failure cause;
    int fd = file_open(segment->directory, segment->name, O_RDONLY, SPOOL_FILE_MAX, &cause);
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

bool spool_sync_names(const struct spool_segment *segment)
{
    return file_sync_directory(segment->directory);
}

/* Failing that costs room only. */
static void give_back_spare(struct spool_segment *segment, int fd)
{
    if (segment->has_spare && ftruncate(fd, (off_t)segment->bytes) == -1)
        log_warn("spool.truncate", log_str("path", segment->path),
                 log_str("reason", strerror(errno)));
    segment->has_spare = false;
}

enum spool_synced spool_sync(struct spool_segment *segment, struct failure *failure)
{
    struct failure cause;
    int fd, error;

    if (segment->synced)
        return SPOOL_SYNCED;
    fd = file_open(segment->directory, segment->name, O_RDWR, SPOOL_FILE_MAX, &cause);
    if (fd == -1 && errno == EROFS) {
        segment->has_spare = false; /* it stays reserved */
        fd = file_open(segment->directory, segment->name, O_RDONLY, SPOOL_FILE_MAX, &cause);
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

/* Whoever laid something there under the hidden name: it is not written through. */
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

bool spool_set_aside(const char *base, const struct uuid *id, const char *suffix,
                     struct slice lines, struct failure *failure)
{
    char hidden[NAME_MAX], *name = hidden + 1;
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done;

    uuid_format(id, strcpy(hidden, ".") + 1);
    snprintf(name + UUID_TEXT_LENGTH, sizeof(hidden) - UUID_TEXT_LENGTH - 1, ".%s", suffix);
    if (lines.length == 0)
        done = fd != -1 && (unlinkat(fd, name, 0) == 0 ? file_sync_directory(fd)
                                                       : errno == ENOENT || errno == EISDIR);
    else
        done = fd != -1 && write_hidden(fd, hidden, lines) && renameat(fd, hidden, fd, name) == 0 &&
               file_sync_directory(fd);
    if (!done)
        failure_set(failure, "cannot %s %s/%s: %s", lines.length == 0 ? "remove" : "write", base,
                    name, strerror(errno));
    if (fd != -1)
        close(fd);
    return done;
}

static bool is_uuid(const char *name, struct uuid *id)
{
    return strlen(name) == UUID_TEXT_LENGTH && uuid_parse(slice_of(name), id);
}

/* Cuts a torn last line, or the NULs that a power loss left in its place, and counts the rest. */
static bool repair(struct spool_segment *segment, struct failure *failure)
{
    struct file_lines lines;
    int fd = file_open(segment->directory, segment->name, O_RDWR, SPOOL_FILE_MAX, failure);
    bool done = fd != -1 && file_count_lines(fd, SPOOL_FILE_MAX, &lines);
    int error;

    if (done && lines.bytes != lines.size) {
        log_warn("spool.repaired", log_str("path", segment->path),
                 log_int("cut", (int64_t)(lines.size - lines.bytes)));
        done = ftruncate(fd, (off_t)lines.bytes) == 0;
    }
    error = errno;
    if (!done && fd != -1)
        failure_set(failure, "%s", strerror(error));
    if (fd != -1)
        close(fd);
    errno = error;
    segment->rows = done ? lines.count : 0;
    segment->bytes = done ? lines.bytes : 0;
    return done;
}

struct spool_known {
    UT_hash_handle hh;
    char path[];
};

void spool_pass_over(struct spool_passed_over *passed_over, const char *path, const char *reason)
{
    struct spool_known *known;

    HASH_FIND_STR(passed_over->known, path, known);
    if (known != NULL || HASH_COUNT(passed_over->known) == SPOOL_PASSED_OVER_MAX ||
        (known = malloc(sizeof(*known) + strlen(path) + 1)) == NULL)
        return;
    strcpy(known->path, path);
    HASH_ADD_STR(passed_over->known, path, known);
    counter_add(&passed_over->files, 1);
    log_error("spool.passed_over", log_str("path", path), log_str("reason", reason));
}

void spool_passed_over_dispose(struct spool_passed_over *passed_over)
{
    struct spool_known *known = passed_over->known, *next;

    HASH_CLEAR(hh, passed_over->known);
    for (; known != NULL; known = next) {
        next = known->hh.next;
        free(known);
    }
}

/* It is gone, or of a process that runs; or the system is short of something, and the next look
 * finds more. */
static bool may_pass(int error)
{
    return error == ENOENT || error == EWOULDBLOCK || error == EMFILE || error == ENFILE ||
           error == ENOMEM;
}

/* A segment that another process left, repaired; NULL when it has no rows, is gone, or is passed
 * over. */
static struct spool_segment *find_segment(int directory, const char *path, const char *name,
                                          struct spool_passed_over *passed_over)
{
    struct spool_segment *segment = calloc(1, sizeof(*segment));
    struct failure failure = {""};

    if (segment == NULL || asprintf(&segment->path, "%s/%s", path, name) < 0) {
        free(segment);
        return NULL;
    }
    segment->trigger = SPOOL_RECOVERY;
    segment->directory = directory;
    snprintf(segment->name, sizeof(segment->name), "%s", name);
    if (!is_uuid(name, &segment->id) || !repair(segment, &failure)) {
        if (!may_pass(errno))
            spool_pass_over(passed_over, segment->path, failure.reason);
        spool_forget(NULL, segment);
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

static struct spool_segment *list_segments(int directory, const char *path,
                                           struct spool_passed_over *passed_over)
{
    struct spool_segment *segments = NULL, *segment;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd != -1 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        struct uuid id;

        if (is_uuid(entry->d_name, &id) &&
            (segment = find_segment(directory, path, entry->d_name, passed_over)) != NULL)
            DL_APPEND(segments, segment);
    }
    if (stream != NULL)
        closedir(stream);
    DL_SORT(segments, compare_segments);
    return segments;
}

/* The lock of a directory that is still where it was when it was locked, or -1. */
static int lock_directory(int base, const char *name, struct failure *failure)
{
    int fd = file_open_directory(base, name, failure), error;

    if (fd == -1)
        return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (file_is_at(fd, base, name))
            return fd;
        error = ENOENT;
    } else {
        error = errno;
        failure_set(failure, "it cannot be locked: %s", strerror(error));
    }
    close(fd);
    errno = error;
    return -1;
}

static bool adopt(const char *base, int base_fd, const char *name,
                  struct spool_passed_over *passed_over, struct spool_abandoned *abandoned)
{
    struct failure failure;
    char *path;

    *abandoned = (struct spool_abandoned){.lock = -1};
    if (asprintf(&path, "%s/%s", base, name) < 0)
        return false;
    if ((abandoned->lock = lock_directory(base_fd, name, &failure)) == -1) {
        if (!may_pass(errno))
            spool_pass_over(passed_over, path, failure.reason);
        free(path);
        return false;
    }
    abandoned->directory = path;
    abandoned->segments = list_segments(abandoned->lock, path, passed_over);
    return true;
}

bool spool_adopt_directory(const char *base, const char *name,
                           struct spool_passed_over *passed_over, struct spool_abandoned *abandoned)
{
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool adopted = fd != -1 && adopt(base, fd, name, passed_over, abandoned);

    if (fd != -1)
        close(fd);
    return adopted;
}

static int is_process_directory(const struct dirent *entry)
{
    struct uuid id;

    return is_uuid(entry->d_name, &id);
}

bool spool_adopt(const char *base, const char *after, struct spool_passed_over *passed_over,
                 struct spool_abandoned *abandoned)
{
    struct dirent **entries;
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = fd != -1 ? scandirat(fd, ".", &entries, is_process_directory, alphasort) : -1;
    bool adopted = false;

    *abandoned = (struct spool_abandoned){.lock = -1};
    for (int i = 0; i < count; ++i) {
        if (!adopted && strcmp(entries[i]->d_name, after) > 0)
            adopted = adopt(base, fd, entries[i]->d_name, passed_over, abandoned);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (fd != -1)
        close(fd);
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
static bool end_last_line(int base, const char *name, struct failure *failure)
{
    int fd = file_open(base, name, O_RDWR | O_APPEND, SPOOL_FILE_MAX - 1, failure);
    off_t size = fd != -1 ? lseek(fd, 0, SEEK_END) : -1;
    bool done = size == 0;
    char last;

    if (size > 0)
        done = pread(fd, &last, 1, size - 1) == 1 && (last == '\n' || write(fd, "\n", 1) == 1);
    if (!done && fd != -1)
        failure_set(failure, "%s", strerror(errno));
    if (fd != -1)
        close(fd);
    return done;
}

static bool make_name(char name[UUID_TEXT_LENGTH + 1])
{
    struct uuid_source *uuids = calloc(1, sizeof(*uuids));
    struct uuid id;
    bool made = uuids != NULL && uuid_v7_make(uuids, clock_unix_ms(), &id);

    if (made)
        uuid_format(&id, name);
    name[UUID_TEXT_LENGTH] = '\0';
    free(uuids);
    return made;
}

bool spool_bring_back(struct spool *spool, const struct spool_entry *entry,
                      struct spool_passed_over *passed_over, struct spool_segment **segments,
                      struct failure *failure)
{
    int base = open(spool->config.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[UUID_TEXT_LENGTH + 1];
    struct spool_segment *segment;
    struct failure cause;
    bool taken = false;

    if (base == -1)
        failure_set(&cause, "%s", strerror(errno));
    else if (!make_name(name))
        failure_set(&cause, "the system gives no random bytes");
    else if (end_last_line(base, entry->name, &cause)) {
        taken = renameat(base, entry->name, spool->lock, name) == 0;
        failure_set(&cause, "%s", strerror(errno));
    }
    if (base != -1)
        close(base);
    if (!taken)
        return failure_set(failure, "cannot take %s: %s", entry->path, cause.reason);
    if ((segment = find_segment(spool->lock, spool->directory, name, passed_over)) != NULL)
        DL_APPEND(*segments, segment);
    return true;
}
