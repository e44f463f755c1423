/* What is in a spool, for people who ask: see spool.h. Other processes go on meanwhile. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <utlist.h>

#include "common/spool.h"

/* What is gone since it was listed was sent. */
static bool fail_unless_gone(const char *path, struct failure *failure)
{
    if (errno == ENOENT)
        return true;
    return failure_set(failure, "cannot read %s: %s; run this as the user of the server", path,
                       strerror(errno));
}

/* Adds the whole lines of a file: the end of one that is being written may be torn. */
static bool count_lines(const char *path, struct spool_entry *entry, uint64_t *rows,
                        struct failure *failure)
{
    char piece[65536];
    uint64_t bytes = 0, line = 0;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    *rows = 0;
    if (fd == -1)
        return fail_unless_gone(path, failure);
    while ((got = read(fd, piece, sizeof(piece))) > 0) {
        for (ssize_t i = 0; i != got; ++i) {
            ++line;
            if (piece[i] == '\n') {
                ++*rows;
                bytes += line;
                line = 0;
            }
        }
    }
    if (got == -1)
        fail_unless_gone(path, failure);
    close(fd);
    entry->rows += *rows;
    entry->bytes += bytes;
    return got == 0;
}

/* As spool_adopt asks, but without keeping others from asking: a shared lock, for a moment. An
 * adopter that comes just then looks again later. */
static bool is_locked(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool locked = fd != -1 && flock(fd, LOCK_SH | LOCK_NB) == -1;

    if (fd != -1)
        close(fd);
    return locked;
}

static bool count_segments(struct spool_entry *entry, struct failure *failure)
{
    DIR *stream = opendir(entry->path);
    struct dirent *file;
    bool done = true;

    if (stream == NULL)
        return fail_unless_gone(entry->path, failure);
    while (done && (file = readdir(stream)) != NULL) {
        char path[PATH_MAX];
        struct uuid id;
        uint64_t rows;

        if (!uuid_parse(slice_of(file->d_name), &id))
            continue;
        snprintf(path, sizeof(path), "%s/%s", entry->path, file->d_name);
        done = count_lines(path, entry, &rows, failure);
        if (rows == 0)
            continue;
        ++entry->segments;
        if (entry->oldest_unix_ms == 0 || uuid_v7_unix_ms(&id) < entry->oldest_unix_ms)
            entry->oldest_unix_ms = uuid_v7_unix_ms(&id);
    }
    closedir(stream);
    return done;
}

static bool tell_kind(const char *suffix, struct spool_entry *entry)
{
    if (*suffix == '\0')
        entry->kind = is_locked(entry->path) ? SPOOL_LIVE : SPOOL_ABANDONED;
    else if (strcmp(suffix, ".rejected") == 0)
        entry->kind = SPOOL_REJECTED;
    else if (strcmp(suffix, ".expired") == 0)
        entry->kind = SPOOL_EXPIRED;
    else
        return false;
    return true;
}

static void free_entry(struct spool_entry *entry)
{
    free(entry->path);
    free(entry);
}

/* NULL for a name that means nothing to the spool. */
static struct spool_entry *make_entry(const char *base, const char *name)
{
    struct spool_entry *entry;
    struct uuid id;

    if (strlen(name) < UUID_TEXT_LENGTH ||
        !uuid_parse((struct slice){name, UUID_TEXT_LENGTH}, &id) ||
        (entry = calloc(1, sizeof(*entry))) == NULL)
        return NULL;
    entry->id = id;
    if (asprintf(&entry->path, "%s/%s", base, name) < 0) {
        free(entry);
        return NULL;
    }
    entry->name = entry->path + strlen(base) + 1;
    if (!tell_kind(entry->name + UUID_TEXT_LENGTH, entry)) {
        free_entry(entry);
        return NULL;
    }
    return entry;
}

static int compare_entries(struct spool_entry *a, struct spool_entry *b)
{
    return memcmp(&a->id, &b->id, sizeof(a->id));
}

bool spool_list(const char *base, struct spool_entry **entries, struct failure *failure)
{
    DIR *stream = opendir(base);
    struct dirent *file;
    bool done = true;

    *entries = NULL;
    if (stream == NULL)
        return fail_unless_gone(base, failure);
    while (done && (file = readdir(stream)) != NULL) {
        struct spool_entry *entry = make_entry(base, file->d_name);
        uint64_t rows;

        if (entry == NULL)
            continue;
        done = entry->kind == SPOOL_LIVE || entry->kind == SPOOL_ABANDONED
                   ? count_segments(entry, failure)
                   : count_lines(entry->path, entry, &rows, failure);
        if (access(entry->path, F_OK) == 0)
            DL_APPEND(*entries, entry);
        else
            free_entry(entry);
    }
    closedir(stream);
    DL_SORT(*entries, compare_entries);
    return done;
}

void spool_list_free(struct spool_entry *entries)
{
    struct spool_entry *entry, *next;

    DL_FOREACH_SAFE (entries, entry, next)
        free_entry(entry);
}

bool spool_is_waiting(const struct spool_entry *entries, const struct spool_entry *file)
{
    const struct spool_entry *entry;
    char path[PATH_MAX];

    DL_FOREACH (entries, entry) {
        snprintf(path, sizeof(path), "%s/%.*s", entry->path, UUID_TEXT_LENGTH, file->name);
        if (access(path, F_OK) == 0)
            return true;
    }
    return false;
}
