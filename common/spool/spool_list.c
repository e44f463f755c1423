/* Lists a spool while other processes use it. */
#include "common/spool/spool_list.h"

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

#include "common/file.h"
#include "common/spool/spool_name.h"
#include "common/spool/spool_segment.h"

struct listing {
    const char *base;
    unsigned newest; /* format */
    struct spool_entry *entries;
    struct failure *failure;
};

/* A file that has gone since it was listed was sent. */
static bool fail_unless_gone(int error, const char *path, struct failure *failure)
{
    return error == ENOENT ||
           failure_set(failure, "cannot read %s: %s; run this as the user of the server", path,
                       strerror(error));
}

static void free_entry(struct spool_entry *entry)
{
    free(entry->path);
    free(entry);
}

static struct spool_entry *make_entry(const struct listing *listing, const char *name,
                                      enum spool_entry_kind kind, const struct uuid *id,
                                      unsigned format)
{
    struct spool_entry *entry = calloc(1, sizeof(*entry));

    if (entry == NULL || asprintf(&entry->path, "%s/%s", listing->base, name) < 0) {
        free(entry);
        return NULL;
    }
    entry->name = entry->path + strlen(listing->base) + 1;
    entry->kind = kind;
    entry->id = *id;
    entry->format = format;
    entry->newer = format > listing->newest;
    return entry;
}

/* It belongs to another user. */
static bool is_forbidden(int error)
{
    return error == EACCES || error == EPERM;
}

/* Counts the complete lines of a file: one being written may end in a torn line. A refused or
 * unreadable file has none; `refused` says why, or is empty. */
static bool count_lines(int directory, const char *name, const char *path, struct file_lines *lines,
                        struct failure *refused, struct failure *failure)
{
    int fd = file_open(directory, name, O_RDONLY, SPOOL_SEGMENT_FILE_MAX, refused);
    bool done = fd != -1 && file_count_lines(fd, SPOOL_SEGMENT_FILE_MAX, lines);
    int error = errno;

    if (fd != -1)
        close(fd);
    if (fd == -1 && (error == FILE_REFUSED || is_forbidden(error)))
        return true;
    refused->reason[0] = '\0';
    return done || fail_unless_gone(error, path, failure);
}

static bool count_segment(struct listing *listing, int directory, struct spool_entry *process,
                          const char *name, const struct uuid *id, unsigned format)
{
    bool newer = format > listing->newest;
    struct file_lines lines = {0};
    struct failure refused = {""};
    struct spool_entry *entry;
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", process->name, name);
    if (!newer && !count_lines(directory, name, path, &lines, &refused, listing->failure))
        return false;
    process->newer |= newer;
    if ((newer || refused.reason[0] != '\0') &&
        (entry = make_entry(listing, path, SPOOL_SEGMENT, id, format)) != NULL) {
        entry->passed_over = refused;
        DL_APPEND(listing->entries, entry);
    }
    if (lines.count == 0)
        return true;
    ++process->segments;
    process->rows += lines.count;
    process->bytes += lines.bytes;
    if (process->oldest_unix_ms == 0 || uuid_v7_unix_ms(id) < process->oldest_unix_ms)
        process->oldest_unix_ms = uuid_v7_unix_ms(id);
    return true;
}

/* Tests the lock as spool_abandoned_adopt does, but shared and only for a moment, so that others
 * can test too. An adopter that fails because of it looks again later. */
static bool is_locked(int directory)
{
    bool locked = flock(directory, LOCK_SH | LOCK_NB) == -1 && errno == EWOULDBLOCK;

    flock(directory, LOCK_UN);
    return locked;
}

static bool count_segments(struct listing *listing, int base, struct spool_entry *process)
{
    int directory = file_open_directory(base, process->name, &process->passed_over);
    DIR *stream = directory != -1 ? fdopendir(directory) : NULL;
    struct dirent *file;
    bool done = true;

    if (stream == NULL) {
        int error = errno;

        if (directory != -1)
            close(directory);
        if (is_forbidden(error)) {
            process->kind = SPOOL_UNREADABLE;
            process->passed_over.reason[0] = '\0';
            return true;
        }
        return error == FILE_REFUSED || fail_unless_gone(error, process->path, listing->failure);
    }
    process->kind = is_locked(directory) ? SPOOL_LIVE : SPOOL_ABANDONED;
    while (done && (file = readdir(stream)) != NULL) {
        struct uuid id;
        unsigned format;

        if (spool_name_is_segment(file->d_name, &id, &format))
            done = count_segment(listing, directory, process, file->d_name, &id, format);
    }
    closedir(stream);
    return done;
}

static bool count_set_aside(struct listing *listing, int base, struct spool_entry *entry)
{
    struct file_lines lines = {0};
    bool done = entry->newer || count_lines(base, entry->name, entry->path, &lines,
                                            &entry->passed_over, listing->failure);

    entry->rows = lines.count;
    entry->bytes = lines.bytes;
    return done;
}

static bool tell_kind(const char *suffix, unsigned format, enum spool_entry_kind *kind)
{
    if (*suffix == '\0' && format == 1)
        *kind = SPOOL_ABANDONED;
    else if (strcmp(suffix, ".rejected") == 0)
        *kind = SPOOL_REJECTED;
    else if (strcmp(suffix, ".expired") == 0)
        *kind = SPOOL_EXPIRED;
    else
        return false;
    return true;
}

static bool list_name(struct listing *listing, int base, const char *name)
{
    struct spool_entry *entry;
    enum spool_entry_kind kind;
    struct stat status;
    struct uuid id;
    unsigned format;
    const char *suffix = spool_name_read(name, &id, &format);
    bool done;

    if (suffix == NULL || !tell_kind(suffix, format, &kind) ||
        (entry = make_entry(listing, name, kind, &id, format)) == NULL)
        return true; /* it means nothing to the spool */
    done = kind == SPOOL_ABANDONED ? count_segments(listing, base, entry)
                                   : count_set_aside(listing, base, entry);
    if (fstatat(base, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        DL_APPEND(listing->entries, entry);
    else
        free_entry(entry);
    return done;
}

static int compare_entries(struct spool_entry *a, struct spool_entry *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id));
}

bool spool_list(const char *base, unsigned newest, struct spool_entry **entries,
                struct failure *failure)
{
    struct listing listing = {.base = base, .newest = newest, .failure = failure};
    DIR *stream = opendir(base);
    struct dirent *file;
    bool done = true;

    *entries = NULL;
    if (stream == NULL)
        return fail_unless_gone(errno, base, failure);
    while (done && (file = readdir(stream)) != NULL)
        done = list_name(&listing, dirfd(stream), file->d_name);
    closedir(stream);
    *entries = listing.entries;
    DL_SORT(*entries, compare_entries);
    return done;
}

static void count_directory(int base, const char *name, struct spool_directories *found)
{
    struct failure failure;
    int directory = file_open_directory(base, name, &failure);

    if (directory == -1)
        found->unreadable += is_forbidden(errno);
    else if (!is_locked(directory))
        ++found->abandoned;
    if (directory != -1)
        close(directory);
}

struct spool_directories spool_list_count_directories(const char *base)
{
    struct spool_directories found = {0};
    DIR *stream = opendir(base);
    struct dirent *file;
    struct uuid id;

    while (stream != NULL && (file = readdir(stream)) != NULL) {
        if (strlen(file->d_name) == UUID_TEXT_LENGTH && uuid_parse(slice_of(file->d_name), &id))
            count_directory(dirfd(stream), file->d_name, &found);
    }
    if (stream != NULL)
        closedir(stream);
    return found;
}

void spool_list_free(struct spool_entry *entries)
{
    struct spool_entry *entry, *next;

    DL_FOREACH_SAFE (entries, entry, next)
        free_entry(entry);
}

bool spool_list_is_waiting(const struct spool_entry *entries, const struct spool_entry *file)
{
    int length = (int)(strrchr(file->name, '.') - file->name); /* of the segment's name */
    const struct spool_entry *entry;
    char path[PATH_MAX];

    DL_FOREACH (entries, entry) {
        snprintf(path, sizeof(path), "%s/%.*s", entry->path, length, file->name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}
