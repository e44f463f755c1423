#include "common/spool/spool_abandoned.h"

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
#include "common/owner.h"

static bool is_uuid(const char *name, struct uuid *id)
{
    return strlen(name) == UUID_TEXT_LENGTH && uuid_parse(slice_of(name), id);
}

/* Cuts a torn last line, or the NULs that a power loss left in its place, and counts the rest. */
static bool repair(struct spool_segment *segment, struct failure *failure)
{
    struct file_lines lines;
    int fd = file_open(segment->directory, segment->name, O_RDWR, SPOOL_SEGMENT_FILE_MAX, failure);
    bool done = fd != -1 && file_count_lines(fd, SPOOL_SEGMENT_FILE_MAX, &lines);
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

/* It is gone or belongs to a running process, or the system is short of something: the next look
 * finds out. */
static bool may_pass(int error)
{
    return error == ENOENT || error == EWOULDBLOCK || error == EMFILE || error == ENFILE ||
           error == ENOMEM;
}

/* A segment that another process left, repaired; NULL when it has no rows, is gone or is passed
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
    if (!spool_name_is_segment(name, &segment->id, &segment->format) ||
        !repair(segment, &failure)) {
        if (!may_pass(errno))
            spool_passed_over_add(passed_over, segment->path, failure.reason);
        spool_segment_free(segment);
        return NULL;
    }
    if (segment->rows == 0) {
        spool_segment_discard(segment);
        return NULL;
    }
    return segment;
}

static int compare_segments(struct spool_segment *a, struct spool_segment *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id));
}

static struct spool_segment *list_segments(int directory, const char *path, unsigned newest,
                                           struct spool_passed_over *passed_over)
{
    struct spool_segment *segments = NULL, *segment;
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *stream = fd != -1 ? fdopendir(fd) : NULL;
    struct dirent *entry;

    while (stream != NULL && (entry = readdir(stream)) != NULL) {
        struct uuid id;
        unsigned format;

        if (spool_name_is_segment(entry->d_name, &id, &format) && format <= newest &&
            (segment = find_segment(directory, path, entry->d_name, passed_over)) != NULL)
            DL_APPEND(segments, segment);
    }
    if (stream != NULL)
        closedir(stream);
    DL_SORT(segments, compare_segments);
    return segments;
}

/* Locks a directory and returns its descriptor; -1 also when it is no longer at its name. */
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

static bool adopt(const char *base, int base_fd, const char *name, unsigned newest,
                  struct spool_passed_over *passed_over, struct spool_abandoned *abandoned)
{
    struct failure failure;
    char *path;

    *abandoned = (struct spool_abandoned){.lock = -1};
    if (asprintf(&path, "%s/%s", base, name) < 0)
        return false;
    if ((abandoned->lock = lock_directory(base_fd, name, &failure)) == -1) {
        if (!may_pass(errno))
            spool_passed_over_add(passed_over, path, failure.reason);
        free(path);
        return false;
    }
    abandoned->directory = path;
    abandoned->segments = list_segments(abandoned->lock, path, newest, passed_over);
    return true;
}

bool spool_abandoned_adopt_named(const char *base, const char *name, unsigned newest,
                                 struct spool_passed_over *passed_over,
                                 struct spool_abandoned *abandoned)
{
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool adopted = fd != -1 && adopt(base, fd, name, newest, passed_over, abandoned);

    if (fd != -1)
        close(fd);
    return adopted;
}

static int is_process_directory(const struct dirent *entry)
{
    struct uuid id;

    return is_uuid(entry->d_name, &id);
}

bool spool_abandoned_adopt(const char *base, const char *after, unsigned newest,
                           struct spool_passed_over *passed_over, struct spool_abandoned *abandoned)
{
    struct dirent **entries;
    int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int count = fd != -1 ? scandirat(fd, ".", &entries, is_process_directory, alphasort) : -1;
    bool adopted = false;

    *abandoned = (struct spool_abandoned){.lock = -1};
    for (int i = 0; i < count; ++i) {
        if (!adopted && strcmp(entries[i]->d_name, after) > 0)
            adopted = adopt(base, fd, entries[i]->d_name, newest, passed_over, abandoned);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    if (fd != -1)
        close(fd);
    return adopted;
}

void spool_abandoned_release(struct spool_abandoned *abandoned)
{
    spool_segment_free_all(abandoned->segments);
    rmdir(abandoned->directory);
    free(abandoned->directory);
    close(abandoned->lock);
    *abandoned = (struct spool_abandoned){.lock = -1};
}

/* Somebody may have edited the file: a last line without a line end would be cut as torn. */
static bool end_last_line(int base, const char *name, struct failure *failure)
{
    int fd = file_open(base, name, O_RDWR | O_APPEND, SPOOL_SEGMENT_FILE_MAX - 1, failure);
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

static bool make_name(unsigned format, char name[SPOOL_NAME_SIZE])
{
    struct uuid_source *uuids = calloc(1, sizeof(*uuids));
    struct uuid id;
    bool made = uuids != NULL && uuid_v7_make(uuids, clock_unix_ms(), &id);

    if (made)
        spool_name_write(&id, format, name);
    free(uuids);
    return made;
}

bool spool_abandoned_bring_back(struct spool *spool, const struct spool_entry *entry,
                                struct spool_passed_over *passed_over,
                                struct spool_segment **segments, struct failure *failure)
{
    int base = open(spool->config.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char name[SPOOL_NAME_SIZE];
    struct spool_segment *segment;
    struct failure cause;
    bool taken = false;

    if (base == -1)
        failure_set(&cause, "%s", strerror(errno));
    else if (!make_name(entry->format, name))
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
