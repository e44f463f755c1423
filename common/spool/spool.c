#include "common/spool/spool.h"

#include <errno.h>
#include <fcntl.h>
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

_Static_assert(SPOOL_SEGMENT_MAX + SPOOL_PASS_MAX == SPOOL_SEGMENT_FILE_MAX,
               "a segment is closed after the pass that makes it too long");

#define DIRECTORY_TRIES 100 /* others may adopt a new directory before we lock it */

static char *path_in(const char *directory, const char *name)
{
    char *path;

    return asprintf(&path, "%s/%s", directory, name) < 0 ? NULL : path;
}

/* One try; false when another process took the new directory for an abandoned one before we locked
 * it. */
static bool try_directory(struct spool *spool, int base, const struct uuid *id,
                          struct failure *failure)
{
    char name[UUID_TEXT_LENGTH + 1] = "";

    uuid_format(id, name);
    free(spool->directory);
    spool->directory = path_in(spool->config.base, name);
    if (spool->directory == NULL || mkdirat(base, name, 0700) == -1)
        return failure_set(failure, "cannot make a directory in %s: %s", spool->config.base,
                           strerror(errno));
    spool->lock = file_open_directory(base, name, failure);
    owner_inherit(spool->lock, base);
    if (spool->lock != -1 && flock(spool->lock, LOCK_EX | LOCK_NB) == 0 &&
        file_is_at(spool->lock, base, name) && file_sync_directory(base))
        return true;
    failure_set(failure, "cannot lock %s: %s", spool->directory, strerror(errno));
    if (spool->lock != -1)
        close(spool->lock);
    spool->lock = -1;
    unlinkat(base, name, AT_REMOVEDIR);
    return false;
}

static bool make_directory(struct spool *spool, struct failure *failure)
{
    struct uuid_source uuids = {.left = 0};
    struct uuid id;
    bool made = false;
    int base = -1;

    if ((mkdir(spool->config.base, 0700) == -1 && errno != EEXIST) ||
        (base = open(spool->config.base, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) == -1)
        return failure_set(failure, "cannot make the spool directory %s: %s", spool->config.base,
                           strerror(errno));
    for (int i = 0; i != DIRECTORY_TRIES && !made; ++i) {
        if (!uuid_v7_make(&uuids, clock_unix_ms(), &id)) {
            failure_set(failure, "the system gives no random bytes");
            break;
        }
        made = try_directory(spool, base, &id, failure);
    }
    close(base);
    return made;
}

bool spool_open(struct spool *spool, const struct spool_config *config, struct failure *failure)
{
    pthread_condattr_t monotonic;

    *spool = (struct spool){.config = *config, .lock = -1, .batch = 1 << 1};
    pthread_mutex_init(&spool->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&spool->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return make_directory(spool, failure);
}

void spool_close(struct spool *spool)
{
    spool_segment_free_all(spool->closed);
    if (spool->directory != NULL)
        rmdir(spool->directory); /* fails while anything is in it */
    if (spool->lock != -1)
        close(spool->lock);
    free(spool->directory);
    pthread_cond_destroy(&spool->changed);
    pthread_mutex_destroy(&spool->mutex);
}

/* The writing side */

void spool_writer_open(struct spool_writer *writer, struct spool *spool)
{
    *writer = (struct spool_writer){.spool = spool, .fd = -1};
}

static uint64_t batch_number(struct spool *spool)
{
    return atomic_load_explicit(&spool->batch, memory_order_relaxed);
}

/* Reserves disk space for the file up to `size`, so that no row meets a full disk. */
static bool reserve(struct spool_writer *writer, uint64_t size)
{
    while (writer->reserved < size) {
        if (fallocate(writer->fd, FALLOC_FL_KEEP_SIZE, (off_t)writer->reserved, SPOOL_RESERVE) !=
                0 &&
            errno != EOPNOTSUPP)
            return false;
        writer->reserved += SPOOL_RESERVE;
    }
    return true;
}

/* Removes a segment without rows. */
static void abandon_segment(struct spool_writer *writer)
{
    unlinkat(writer->segment->directory, writer->segment->name, 0);
    close(writer->fd);
    spool_segment_free(writer->segment);
    writer->segment = NULL;
    writer->fd = -1;
}

static bool open_segment(struct spool_writer *writer)
{
    struct spool *spool = writer->spool;
    struct spool_segment *segment = calloc(1, sizeof(*segment));

    if (segment == NULL || !uuid_v7_make(&writer->uuids, clock_unix_ms(), &segment->id)) {
        free(segment);
        return false;
    }
    segment->format = spool->config.format;
    spool_name_write(&segment->id, segment->format, segment->name);
    segment->directory = spool->lock;
    if ((segment->path = path_in(spool->directory, segment->name)) == NULL ||
        (writer->fd = openat(spool->lock, segment->name,
                             O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600)) == -1) {
        spool_segment_free(segment);
        return false;
    }
    owner_inherit(writer->fd, spool->lock);
    writer->segment = segment;
    writer->reserved = 0;
    writer->first_ms = 0;
    if (!reserve(writer, SPOOL_ROW_MAX)) {
        abandon_segment(writer);
        return false;
    }
    return true;
}

/* Opened for a row that never came: its name would date later rows too early. */
static bool is_stale(const struct spool_writer *writer)
{
    return writer->segment->rows == 0 && writer->pass_rows == 0 &&
           clock_unix_ms() - uuid_v7_unix_ms(&writer->segment->id) >
               (int64_t)writer->spool->config.batch_interval_ms;
}

static bool find_room(struct spool_writer *writer)
{
    struct spool *spool = writer->spool;

    if (writer->pass.size + SPOOL_ROW_MAX > SPOOL_PASS_MAX) {
        errno = EFBIG;
        return false;
    }
    if (atomic_load_explicit(&spool->bytes, memory_order_relaxed) + writer->pass.size +
            SPOOL_ROW_MAX >
        spool->config.max_bytes)
        return false;
    if (writer->segment != NULL && is_stale(writer))
        abandon_segment(writer);
    if (writer->segment == NULL)
        return open_segment(writer);
    return reserve(writer, writer->segment->bytes + writer->pass.size + SPOOL_ROW_MAX);
}

/* `reason` says why there is no room; NULL: there is. */
static void set_full(struct spool_writer *writer, const char *reason)
{
    bool full = reason != NULL;

    if (atomic_load_explicit(&writer->full, memory_order_relaxed) == full)
        return;
    atomic_store_explicit(&writer->full, full, memory_order_relaxed);
    if (full)
        log_error("spool.full", log_str("directory", writer->spool->directory),
                  log_int("bytes", (int64_t)atomic_load(&writer->spool->bytes)),
                  log_str("reason", reason));
    else
        log_info("spool.room", log_str("directory", writer->spool->directory));
}

static bool look_for_room(struct spool_writer *writer)
{
    if (writer->retry_at_ms != 0) {
        if (clock_monotonic_ms() < writer->retry_at_ms)
            return false;
        writer->retry_at_ms = 0;
    }
    errno = 0;
    if (!find_room(writer)) {
        set_full(writer, errno != 0 ? strerror(errno) : "the size limit is reached");
        writer->retry_at_ms = clock_monotonic_ms() + SPOOL_RETRY_MS;
        return false;
    }
    if (!writer->failing) /* otherwise a write must show first that there is room */
        set_full(writer, NULL);
    return true;
}

bool spool_has_room(struct spool_writer *writer)
{
    return look_for_room(writer);
}

char *spool_reserve_row(struct spool_writer *writer)
{
    return buffer_reserve(&writer->pass, SPOOL_ROW_MAX);
}

void spool_append_row(struct spool_writer *writer, size_t length)
{
    writer->pass.size += length;
    ++writer->pass_rows;
}

/* Ends the batch `number`, unless another thread has. */
static void end_batch(struct spool *spool, uint64_t number, enum spool_trigger trigger)
{
    uint64_t next = ((number >> 1) + 1) << 1 | (trigger == SPOOL_INTERVAL);

    if (atomic_compare_exchange_strong(&spool->batch, &number, next))
        atomic_store(&spool->batch_rows, 0);
}

/* Hands the open segment to the sender. */
static void close_segment(struct spool_writer *writer, enum spool_trigger trigger)
{
    struct spool *spool = writer->spool;
    struct spool_segment *segment = writer->segment;

    if (segment == NULL)
        return;
    if (segment->rows == 0) {
        abandon_segment(writer);
        return;
    }
    segment->has_spare = writer->reserved > segment->bytes;
    close(writer->fd);
    writer->segment = NULL;
    writer->fd = -1;
    atomic_store_explicit(&writer->opened_unix_ms, 0, memory_order_relaxed);
    segment->trigger = trigger;
    pthread_mutex_lock(&spool->mutex);
    DL_APPEND(spool->closed, segment);
    pthread_cond_signal(&spool->changed);
    pthread_mutex_unlock(&spool->mutex);
}

/* The pass could not be written: cuts the file back to the last complete one, and for a while
 * admits no more rows. */
static void lose_pass(struct spool_writer *writer, const char *reason)
{
    struct spool_segment *segment = writer->segment;

    if (!writer->failing)
        log_error("spool.write", log_str("path", segment->path), log_str("reason", reason));
    if (ftruncate(writer->fd, (off_t)segment->bytes) == -1)
        log_error("spool.truncate", log_str("path", segment->path),
                  log_str("reason", strerror(errno)));
    close_segment(writer, SPOOL_ROWS);
    writer->failing = true;
    writer->lost_rows = writer->pass_rows;
    writer->retry_at_ms = clock_monotonic_ms() + SPOOL_RETRY_MS;
    set_full(writer, reason);
}

static bool write_pass(struct spool_writer *writer)
{
    ssize_t written = write(writer->fd, writer->pass.bytes, writer->pass.size);

    if (written == (ssize_t)writer->pass.size) {
        writer->failing = false;
        return true;
    }
    lose_pass(writer, written == -1 ? strerror(errno) : "the write came back short");
    return false;
}

static void count_pass(struct spool_writer *writer)
{
    struct spool *spool = writer->spool;
    struct spool_segment *segment = writer->segment;

    if (writer->first_ms == 0) {
        segment->batch = batch_number(spool); /* a new one may have begun since it was opened */
        writer->first_ms = clock_monotonic_ms();
        atomic_store_explicit(&writer->opened_unix_ms, uuid_v7_unix_ms(&segment->id),
                              memory_order_relaxed);
    }
    segment->bytes += writer->pass.size;
    segment->rows += writer->pass_rows;
    atomic_fetch_add(&spool->bytes, writer->pass.size);
    atomic_fetch_add(&spool->rows, writer->pass_rows);
    if (atomic_fetch_add(&spool->batch_rows, writer->pass_rows) + writer->pass_rows >=
        spool->config.batch_rows)
        end_batch(spool, batch_number(spool), SPOOL_ROWS);
}

bool spool_end_pass(struct spool_writer *writer)
{
    struct spool *spool = writer->spool;
    bool written = true;

    if (writer->pass_rows != 0) {
        written = write_pass(writer);
        if (written)
            count_pass(writer);
        buffer_clear(&writer->pass);
        writer->pass_rows = 0;
    }
    if (atomic_load_explicit(&writer->full, memory_order_relaxed))
        look_for_room(writer); /* while full, nobody may call spool_has_room */
    if (writer->segment == NULL || writer->first_ms == 0)
        return written;
    if (writer->segment->bytes >= SPOOL_SEGMENT_MAX)
        end_batch(spool, writer->segment->batch, SPOOL_ROWS);
    if (clock_monotonic_ms() - writer->first_ms >= spool->config.batch_interval_ms)
        end_batch(spool, writer->segment->batch, SPOOL_INTERVAL);
    if (writer->segment->batch != batch_number(spool))
        close_segment(writer, (batch_number(spool) & 1) != 0 ? SPOOL_INTERVAL : SPOOL_ROWS);
    return written;
}

void spool_writer_close(struct spool_writer *writer)
{
    close_segment(writer, SPOOL_SHUTDOWN);
    buffer_dispose(&writer->pass);
}

/* The sending side */

static struct timespec monotonic_in(uint64_t duration_ms)
{
    uint64_t at_ms = clock_monotonic_ms() + duration_ms;

    return (struct timespec){(time_t)(at_ms / 1000), (long)(at_ms % 1000) * 1000000};
}

void spool_pause(struct spool *spool, uint64_t duration_ms)
{
    struct timespec until = monotonic_in(duration_ms);
    int error = 0;

    pthread_mutex_lock(&spool->mutex);
    while (!spool->stopping && error == 0)
        error = pthread_cond_timedwait(&spool->changed, &spool->mutex, &until);
    pthread_mutex_unlock(&spool->mutex);
}

/* The first of the unsynced segments at the end of the closed ones, found from the end: a long
 * backlog, which is synced, is not walked. */
static struct spool_segment *first_unsynced(struct spool *spool)
{
    struct spool_segment *segment;

    pthread_mutex_lock(&spool->mutex);
    segment = spool->closed != NULL ? spool->closed->prev : NULL; /* utlist: the last one */
    while (segment != spool->closed && !segment->prev->synced)
        segment = segment->prev;
    pthread_mutex_unlock(&spool->mutex);
    return segment != NULL && !segment->synced ? segment : NULL;
}

/* `segment` stays listed: only the sender, which calls this, removes any. */
static struct spool_segment *next_closed(struct spool *spool, const struct spool_segment *segment)
{
    struct spool_segment *next;

    pthread_mutex_lock(&spool->mutex);
    next = segment->next;
    pthread_mutex_unlock(&spool->mutex);
    return next;
}

void spool_sync_closed(struct spool *spool)
{
    struct spool_segment *segment, *synced = NULL;
    struct failure failure;

    for (segment = first_unsynced(spool); segment != NULL; segment = next_closed(spool, segment)) {
        if (spool_segment_sync(segment, &failure) == SPOOL_SYNCED)
            synced = segment;
        else
            log_warn("spool.not_synced", log_str("reason", failure.reason));
    }
    if (synced != NULL && !spool_segment_sync_names(synced))
        log_warn("spool.not_synced", log_str("reason", "the directory cannot be synced"));
}

struct spool_segment *spool_take(struct spool *spool, uint64_t timeout_ms)
{
    struct spool_segment *taken;
    struct timespec until = monotonic_in(timeout_ms);
    int error = 0;

    pthread_mutex_lock(&spool->mutex);
    while (spool->closed == NULL && !spool->stopping && error == 0)
        error = pthread_cond_timedwait(&spool->changed, &spool->mutex, &until);
    pthread_mutex_unlock(&spool->mutex);
    spool_sync_closed(spool);
    pthread_mutex_lock(&spool->mutex);
    taken = spool->closed;
    spool->closed = NULL;
    spool->sending_unix_ms = taken != NULL ? uuid_v7_unix_ms(&taken->id) : 0;
    pthread_mutex_unlock(&spool->mutex);
    return taken;
}

void spool_give_back(struct spool *spool, struct spool_segment *segments)
{
    pthread_mutex_lock(&spool->mutex);
    DL_CONCAT(segments, spool->closed);
    spool->closed = segments;
    spool->sending_unix_ms = 0;
    pthread_mutex_unlock(&spool->mutex);
}

void spool_stop(struct spool *spool)
{
    pthread_mutex_lock(&spool->mutex);
    spool->stopping = true;
    pthread_cond_signal(&spool->changed);
    pthread_mutex_unlock(&spool->mutex);
}

bool spool_is_stopping(struct spool *spool)
{
    bool stopping;

    pthread_mutex_lock(&spool->mutex);
    stopping = spool->stopping;
    pthread_mutex_unlock(&spool->mutex);
    return stopping;
}

static void uncount(struct spool *spool, const struct spool_segment *segment)
{
    if (spool == NULL)
        return;
    atomic_fetch_sub(&spool->bytes, segment->bytes);
    atomic_fetch_sub(&spool->rows, segment->rows);
}

void spool_forget(struct spool *spool, struct spool_segment *segment)
{
    uncount(spool, segment);
    spool_segment_free(segment);
}

void spool_discard(struct spool *spool, struct spool_segment *segment)
{
    uncount(spool, segment);
    spool_segment_discard(segment);
}

int64_t spool_oldest_unix_ms(struct spool *spool, const struct spool_writer *const *writers,
                             size_t count)
{
    int64_t oldest;

    pthread_mutex_lock(&spool->mutex);
    oldest = spool->sending_unix_ms;
    if (oldest == 0 && spool->closed != NULL)
        oldest = uuid_v7_unix_ms(&spool->closed->id);
    pthread_mutex_unlock(&spool->mutex);
    for (size_t i = 0; i != count; ++i) {
        int64_t opened = atomic_load_explicit(&writers[i]->opened_unix_ms, memory_order_relaxed);

        if (opened != 0 && (oldest == 0 || opened < oldest))
            oldest = opened;
    }
    return oldest;
}
