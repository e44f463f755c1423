/* common/spool: batches, limits, short writes, and the state after a crash. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/spool/spool.h"
#include "common/spool/spool_abandoned.h"
#include "common/spool/spool_list.h"
#include "common/spool/spool_name.h"
#include "common/spool/spool_passed_over.h"
#include "common/spool/spool_segment.h"

#define NEVER_MS  1000000
#define FORMAT    2 /* of the spool */
#define OLDER_ID  "018bcfe5-6800-7000-8000-000000000001"
#define NEWER_ID  "018bcfe5-6801-7000-8000-000000000002"
#define ABANDONED "018bcfe5-6802-7000-8000-000000000003"

static char base[64];
static struct spool spool;
static struct spool_writer writer;
static struct spool_passed_over passed_over;

static int sync_error; /* of fsync() on directories; 0: none */

/* Replaces libc's: some file systems do not support fsync() on directories. */
int fsync(int fd)
{
    struct stat status;

    if (sync_error == 0 || fstat(fd, &status) == -1 || !S_ISDIR(status.st_mode))
        return (int)syscall(SYS_fsync, fd);
    errno = sync_error;
    return -1;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static int set_up(void **state)
{
    (void)state;
    snprintf(base, sizeof(base), "%s", "/tmp/jotd-spool-XXXXXX");
    signal(SIGXFSZ, SIG_IGN);
    return mkdtemp(base) != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    spool_passed_over_dispose(&passed_over);
    passed_over = (struct spool_passed_over){0};
    return nftw(base, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void must_open(struct spool *to, uint64_t max_bytes, uint64_t rows, uint64_t interval_ms)
{
    struct spool_config config = {base, max_bytes, rows, interval_ms, FORMAT};
    struct failure failure;

    if (!spool_open(to, &config, &failure))
        fail_msg("%s", failure.reason);
}

/* Opens the spool and its one writer. */
static void open_spool(uint64_t max_bytes, uint64_t rows, uint64_t interval_ms)
{
    must_open(&spool, max_bytes, rows, interval_ms);
    spool_writer_open(&writer, &spool);
}

static void close_spool(void)
{
    spool_writer_close(&writer);
    spool_close(&spool);
}

/* Appends a row, `text` and a line end, to the pass. */
static void append(struct spool_writer *to, const char *text)
{
    char *row;

    assert_true(spool_has_room(to));
    row = spool_reserve_row(to);
    spool_append_row(to, (size_t)sprintf(row, "%s\n", text));
}

/* Records one row in a pass of its own. */
static void record(struct spool_writer *to, const char *text)
{
    append(to, text);
    assert_true(spool_end_pass(to));
}

static void assert_holds(struct spool_segment *segment, const char *text)
{
    struct buffer bytes = {0};
    struct failure failure;

    assert_non_null(segment);
    assert_true(spool_segment_read(segment, &bytes, &failure));
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.bytes, text, bytes.size);
    assert_int_equal(segment->bytes, bytes.size);
    buffer_dispose(&bytes);
}

static void assert_file_holds(const char *path, const char *text)
{
    char bytes[100];
    int fd = open(path, O_RDONLY);

    assert_int_equal(read(fd, bytes, sizeof(bytes)), strlen(text));
    assert_memory_equal(bytes, text, strlen(text));
    close(fd);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static size_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;

    assert_non_null(directory);
    while (readdir(directory) != NULL)
        ++count;
    closedir(directory);
    return count - 2; /* . and .. */
}

static void write_text(const char *path, const char *bytes, size_t length)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);

    assert_int_equal(write(fd, bytes, length), length);
    close(fd);
}

/* Writes a segment of an earlier process to <base>/ABANDONED. */
#define LEAVE(id, text) leave(id, text, sizeof(text) - 1)

static void leave(const char *id, const char *bytes, size_t length)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/" ABANDONED, base);
    mkdir(path, 0700);
    snprintf(path, sizeof(path), "%s/" ABANDONED "/%s", base, id);
    write_text(path, bytes, length);
}

/* Batches */

static void test_a_batch_ends_with_its_rows(void **state)
{
    struct spool_segment *taken;

    (void)state;
    open_spool(SPOOL_RESERVE, 3, NEVER_MS);
    record(&writer, "one");
    record(&writer, "two");
    assert_null(spool_take(&spool, 0));
    record(&writer, "three");
    taken = spool_take(&spool, 0);
    assert_holds(taken, "one\ntwo\nthree\n");
    assert_int_equal(taken->rows, 3);
    assert_int_equal(taken->trigger, SPOOL_ROWS);
    assert_int_equal(atomic_load(&spool.rows), 3);
    spool_discard(&spool, taken);
    assert_int_equal(atomic_load(&spool.rows), 0);
    assert_int_equal(atomic_load(&spool.bytes), 0);
    close_spool();
    assert_int_equal(count_entries(base), 0);
}

static void test_a_pass_is_never_divided(void **state)
{
    struct spool_segment *taken;

    (void)state;
    open_spool(SPOOL_RESERVE, 2, NEVER_MS);
    append(&writer, "one");
    append(&writer, "two");
    append(&writer, "three");
    assert_true(spool_end_pass(&writer));
    taken = spool_take(&spool, 0);
    assert_holds(taken, "one\ntwo\nthree\n");
    spool_discard(&spool, taken);
    close_spool();
}

static void test_a_batch_ends_with_its_age(void **state)
{
    uint64_t end_ms = clock_monotonic_ms() + 5000;
    struct spool_segment *taken;

    (void)state;
    open_spool(SPOOL_RESERVE, 1000, 20);
    record(&writer, "one");
    do {
        assert_true(spool_end_pass(&writer));
        taken = spool_take(&spool, 1);
    } while (taken == NULL && clock_monotonic_ms() < end_ms);
    assert_holds(taken, "one\n");
    assert_int_equal(taken->trigger, SPOOL_INTERVAL);
    spool_discard(&spool, taken);
    close_spool();
}

static void test_a_batch_is_that_of_all_writers(void **state)
{
    struct spool_writer other;
    struct spool_segment *taken, *next;

    (void)state;
    open_spool(SPOOL_RESERVE, 3, NEVER_MS);
    spool_writer_open(&other, &spool);
    record(&writer, "one");
    record(&other, "two");
    assert_null(spool_take(&spool, 0));
    record(&other, "three");
    assert_true(spool_end_pass(&writer)); /* notices that the batch has ended */
    taken = spool_take(&spool, 0);
    assert_holds(taken, "two\nthree\n");
    next = taken->next;
    assert_holds(next, "one\n");
    assert_null(next->next);
    assert_int_equal(taken->batch, next->batch);
    spool_discard(&spool, taken);
    spool_discard(&spool, next);

    record(&writer, "four"); /* of the next batch, which starts empty */
    record(&other, "five");
    assert_null(spool_take(&spool, 0));
    spool_writer_close(&other);
    spool_writer_close(&writer);
    taken = spool_take(&spool, 0);
    next = taken->next;
    assert_int_equal(taken->trigger, SPOOL_SHUTDOWN);
    assert_int_equal(next->trigger, SPOOL_SHUTDOWN);
    spool_discard(&spool, taken);
    spool_discard(&spool, next);
    spool_close(&spool);
}

static void test_a_segment_without_rows_leaves_nothing(void **state)
{
    (void)state;
    open_spool(SPOOL_RESERVE, 3, NEVER_MS);
    assert_true(spool_has_room(&writer));
    assert_true(spool_end_pass(&writer));
    assert_int_equal(count_entries(spool.directory), 1);
    spool_writer_close(&writer);
    assert_null(spool_take(&spool, 0));
    spool_close(&spool);
    assert_int_equal(count_entries(base), 0);
}

static void test_what_was_given_back_comes_first(void **state)
{
    struct spool_segment *taken;

    (void)state;
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    record(&writer, "one");
    taken = spool_take(&spool, 0);
    record(&writer, "two");
    spool_give_back(&spool, taken);
    taken = spool_take(&spool, 0);
    assert_holds(taken, "one\n");
    assert_holds(taken->next, "two\n");
    spool_give_back(&spool, taken);
    spool_stop(&spool);
    assert_true(spool_is_stopping(&spool));
    taken = spool_take(&spool, NEVER_MS);
    assert_holds(taken, "one\n");
    spool_segment_free_all(taken);
    assert_null(spool_take(&spool, NEVER_MS)); /* no longer waits */
    close_spool();
    assert_int_equal(count_entries(base), 1); /* what was not discarded stays */
}

static void test_the_age_of_the_oldest(void **state)
{
    const struct spool_writer *const writers[] = {&writer};
    struct spool_segment *taken;
    int64_t opened_ms;

    (void)state;
    open_spool(SPOOL_RESERVE, 2, NEVER_MS);
    assert_int_equal(spool_oldest_unix_ms(&spool, writers, 1), 0);
    record(&writer, "one");
    opened_ms = spool_oldest_unix_ms(&spool, writers, 1);
    assert_in_range(opened_ms, clock_unix_ms() - 5000, clock_unix_ms());
    record(&writer, "two");
    assert_int_equal(spool_oldest_unix_ms(&spool, writers, 1), opened_ms); /* closed */
    taken = spool_take(&spool, 0);
    assert_int_equal(spool_oldest_unix_ms(&spool, writers, 1), opened_ms); /* being sent */
    spool_discard(&spool, taken);
    spool_give_back(&spool, NULL);
    assert_int_equal(spool_oldest_unix_ms(&spool, writers, 1), 0);
    close_spool();
}

/* Room */

static bool finds_room(void)
{
    uint64_t end_ms = clock_monotonic_ms() + 5000;

    while (!spool_has_room(&writer) && clock_monotonic_ms() < end_ms)
        spool_pause(&spool, 1);
    return spool_has_room(&writer);
}

static void test_the_bound_of_bytes(void **state)
{
    char row[10000];
    struct spool_segment *taken;

    (void)state;
    memset(row, 'x', sizeof(row) - 1);
    row[sizeof(row) - 1] = '\0';
    open_spool(2 * SPOOL_ROW_MAX, 2, NEVER_MS);
    append(&writer, row);
    append(&writer, row);
    assert_false(spool_has_room(&writer)); /* the pass's rows count */
    assert_true(atomic_load(&writer.full));
    assert_true(spool_end_pass(&writer));
    taken = spool_take(&spool, 0);
    assert_int_equal(taken->rows, 2);
    spool_discard(&spool, taken);
    assert_true(finds_room());
    assert_false(atomic_load(&writer.full));
    record(&writer, "more");
    spool_writer_close(&writer);
    spool_discard(&spool, spool_take(&spool, 0));
    spool_close(&spool);
}

/* So that the size of a segment is bounded for its readers. */
static void test_the_bound_of_a_pass(void **state)
{
    char row[SPOOL_ROW_MAX];
    struct spool_segment *taken;

    (void)state;
    memset(row, 'x', sizeof(row) - 2);
    row[sizeof(row) - 2] = '\0';
    open_spool(4 * SPOOL_SEGMENT_FILE_MAX, 1000000, NEVER_MS);
    for (uint64_t rows = 0; rows * sizeof(row) < SPOOL_SEGMENT_MAX - sizeof(row); ++rows)
        append(&writer, row);
    assert_true(spool_end_pass(&writer));
    assert_null(spool_take(&spool, 0));
    while (spool_has_room(&writer))
        spool_append_row(&writer, (size_t)sprintf(spool_reserve_row(&writer), "%s\n", row));
    assert_in_range(writer.pass.size, SPOOL_PASS_MAX - SPOOL_ROW_MAX, SPOOL_PASS_MAX);
    assert_true(spool_end_pass(&writer));
    taken = spool_take(&spool, 0);
    assert_in_range(taken->bytes, SPOOL_SEGMENT_FILE_MAX - 4 * SPOOL_ROW_MAX,
                    SPOOL_SEGMENT_FILE_MAX);
    spool_discard(&spool, taken);
    assert_true(finds_room());
    close_spool();
}

static void test_room_that_comes_is_seen_without_being_asked_for(void **state)
{
    uint64_t end_ms = clock_monotonic_ms() + 5000;
    char row[SPOOL_ROW_MAX - 1];

    (void)state;
    memset(row, 'x', sizeof(row) - 1);
    row[sizeof(row) - 1] = '\0';
    open_spool(2 * SPOOL_ROW_MAX, 2, NEVER_MS);
    record(&writer, row);
    record(&writer, row);
    assert_false(spool_has_room(&writer));
    spool_discard(&spool, spool_take(&spool, 0));
    while (atomic_load(&writer.full) && clock_monotonic_ms() < end_ms) {
        assert_true(spool_end_pass(&writer));
        spool_pause(&spool, 1);
    }
    assert_false(
        atomic_load(&writer.full)); /* otherwise a server that is not ready would stay so */
    close_spool();
}

static void test_what_was_reserved_goes_back(void **state)
{
    struct spool_segment *taken;
    struct stat status;

    (void)state;
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    record(&writer, "one");
    taken = spool_take(&spool, 0);
    assert_int_equal(stat(taken->path, &status), 0);
    assert_true(status.st_blocks * 512 < SPOOL_RESERVE / 2);
    assert_int_equal(status.st_size, taken->bytes);
    spool_discard(&spool, taken);
    close_spool();
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;

    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* Adds a pass of two rows that is not written whole. */
static void fail_a_pass(rlim_t limit)
{
    bool written;

    append(&writer, "lost");
    append(&writer, "lost too");
    set_file_limit(limit);
    written = spool_end_pass(&writer);
    set_file_limit(RLIM_INFINITY);
    assert_false(written);
}

static void test_a_short_write_is_cut_back(void **state)
{
    static const rlim_t fits[] = {4, 6, 9, 10}; /* nothing, part of a row, a row, more */

    (void)state;
    open_spool(SPOOL_RESERVE, 1000, NEVER_MS);
    for (size_t i = 0; i != sizeof(fits) / sizeof(fits[0]); ++i) {
        struct spool_segment *taken;

        record(&writer, "one");
        fail_a_pass(fits[i]);
        assert_true(finds_room());
        record(&writer, "two"); /* to a new segment */
        taken = spool_take(&spool, 0);
        assert_holds(taken, "one\n");
        assert_int_equal(taken->rows, 1);
        assert_null(taken->next);
        spool_discard(&spool, taken);
        assert_int_equal(atomic_load(&spool.rows), 1);
        spool_writer_close(&writer);
        taken = spool_take(&spool, 0);
        assert_holds(taken, "two\n");
        spool_discard(&spool, taken);
        spool_writer_open(&writer, &spool);
    }
    close_spool();
}

static void test_a_first_pass_that_fails_leaves_nothing(void **state)
{
    (void)state;
    open_spool(SPOOL_RESERVE, 1000, NEVER_MS);
    fail_a_pass(3);
    assert_null(spool_take(&spool, 0));
    assert_int_equal(count_entries(spool.directory), 0);
    assert_int_equal(atomic_load(&spool.bytes), 0);
    close_spool();
}

static void set_descriptor_limit(rlim_t count)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = count == RLIM_INFINITY ? limit.rlim_max : count;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void test_a_segment_that_cannot_be_made(void **state)
{
    (void)state;
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    set_descriptor_limit(0);
    assert_false(spool_has_room(&writer));
    set_descriptor_limit(RLIM_INFINITY);
    assert_true(finds_room());
    close_spool();
}

/* Segments as files */

static void test_syncing_and_reading(void **state)
{
    struct spool_segment *taken;
    struct buffer bytes = {0};
    struct failure failure;

    (void)state;
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    record(&writer, "one");
    taken = spool_take(&spool, 0);
    assert_true(taken->synced); /* before it is handed out */
    taken->synced = false;
    assert_int_equal(spool_segment_sync(taken, &failure), SPOOL_SYNCED);
    assert_true(taken->synced);
    assert_int_equal(unlink(taken->path), 0);
    assert_int_equal(spool_segment_sync(taken, &failure), SPOOL_SYNCED); /* synced once already */
    taken->synced = false;
    assert_int_equal(spool_segment_sync(taken, &failure), SPOOL_LOST);
    assert_non_null(strstr(failure.reason, taken->path));
    assert_false(spool_segment_read(taken, &bytes, &failure));
    assert_non_null(strstr(failure.reason, taken->path));
    spool_discard(&spool, taken);
    close_spool();
}

/* Otherwise a replaced segment would block all later ones. */
static void test_what_is_no_segment_any_more_is_lost(void **state)
{
    struct spool_segment *taken;
    struct buffer bytes = {0};
    struct failure failure;
    char secret[PATH_MAX];

    (void)state;
    snprintf(secret, sizeof(secret), "%s/secret", base);
    write_text(secret, "a secret of some length\n", 24);
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    for (int kind = 0; kind != 4; ++kind) {
        record(&writer, "one");
        assert_int_equal(unlink(spool.closed->path), 0);
        assert_int_equal(kind == 0   ? symlink(secret, spool.closed->path)
                         : kind == 1 ? link(secret, spool.closed->path)
                         : kind == 2 ? mkfifo(spool.closed->path, 0600)
                                     : mknod(spool.closed->path, S_IFSOCK | 0600, 0),
                         0);
        taken = spool_take(&spool, 0);
        assert_false(taken->synced);
        assert_int_equal(spool_segment_sync(taken, &failure), SPOOL_LOST);
        assert_false(spool_segment_read(taken, &bytes, &failure));
        assert_non_null(strstr(failure.reason, taken->path));
        assert_int_equal(unlink(taken->path), 0);
        spool_forget(&spool, taken);
    }
    assert_file_holds(secret, "a secret of some length\n");
    buffer_dispose(&bytes);
    close_spool();
}

/* A command run by root, for a server that runs as another user. */
static void test_what_root_makes_belongs_to_whom_the_base_belongs(void **state)
{
    struct failure failure;
    struct stat status;
    char path[PATH_MAX];

    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chown(base, 65534, 65533), 0);
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    assert_int_equal(stat(spool.directory, &status), 0);
    assert_int_equal(status.st_uid, 65534);
    assert_int_equal(status.st_gid, 65533);
    assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE("bad\n"), &failure));
    snprintf(path, sizeof(path), "%s/" OLDER_ID ".rejected", base);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 65534);
    close_spool();
}

static void test_syncing_what_is_closed(void **state)
{
    struct spool_segment *closed;

    (void)state;
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    for (int i = 0; i != 3; ++i)
        record(&writer, "row");
    assert_int_equal(unlink(spool.closed->next->path), 0); /* the others do not wait for it */
    spool_sync_closed(&spool);
    closed = spool.closed;
    assert_true(closed->synced);
    assert_false(closed->next->synced);
    assert_true(closed->next->next->synced);
    spool_sync_closed(&spool); /* nothing is left */
    record(&writer, "row");
    record(&writer, "row");
    spool_sync_closed(&spool);
    assert_true(closed->prev->synced);
    assert_true(closed->prev->prev->synced);
    spool_segment_free_all(spool_take(&spool, 0));
    close_spool();
}

static void test_setting_aside(void **state)
{
    struct failure failure;
    struct stat status;
    char path[PATH_MAX], hidden[PATH_MAX], other[PATH_MAX];

    (void)state;
    snprintf(path, sizeof(path), "%s/" OLDER_ID ".rejected", base);
    /* Nothing is written through a file planted under the temporary name. */
    snprintf(hidden, sizeof(hidden), "%s/." OLDER_ID ".rejected", base);
    snprintf(other, sizeof(other), "%s/other", base);
    write_text(other, "other\n", 6);
    assert_int_equal(link(other, hidden), 0);
    assert_true(
        spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE("a longer line\n"), &failure));
    assert_file_holds(path, "a longer line\n");
    assert_file_holds(other, "other\n");
    assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE("bad\n"), &failure));
    assert_file_holds(path, "bad\n");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    for (int i = 0; i != 2; ++i) {
        assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE(""), &failure));
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_int_equal(mkdir(path, 0700), 0); /* not a file, so it does not count */
    assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE(""), &failure));
    assert_false(
        spool_segment_set_aside("/nowhere", OLDER_ID, "rejected", SLICE("bad\n"), &failure));
    assert_non_null(strstr(failure.reason, "/nowhere/" OLDER_ID ".rejected"));
}

/* What other processes left */

static void test_names_are_synced_where_that_can_be(void **state)
{
    static const int none[] = {EINVAL, ENOSYS, ENOTSUP};
    struct spool_config config = {base, SPOOL_SEGMENT_MAX, 1, NEVER_MS, FORMAT};
    struct spool_segment *segment;
    struct spool second;
    struct failure failure;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(none); ++i) {
        sync_error = none[i];
        open_spool(config.max_bytes, 1, NEVER_MS);
        record(&writer, "a");
        segment = spool_take(&spool, 0);
        assert_true(spool_segment_sync_names(segment));
        assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE("row\n"), &failure));
        assert_true(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE(""), &failure));
        sync_error = EIO;
        assert_false(spool_segment_sync_names(segment));
        assert_false(spool_segment_set_aside(base, OLDER_ID, "rejected", SLICE("row\n"), &failure));
        assert_false(spool_open(&second, &config, &failure));
        spool_close(&second);
        sync_error = 0;
        spool_discard(&spool, segment);
        close_spool();
    }
}

static void test_nothing_is_left(void **state)
{
    struct spool_abandoned abandoned;

    (void)state;
    assert_false(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    assert_false(
        spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned)); /* still alive */
    close_spool();
    assert_false(spool_abandoned_adopt("/nowhere", "", FORMAT, &passed_over, &abandoned));
}

static void test_what_was_left_is_repaired(void **state)
{
    struct {
        const char *id, *bytes;
        size_t length;
        const char *repaired;
    } left[] = {
        {"018bcfe5-6800-7000-8000-00000000000a", "a\nb\n", 4, "a\nb\n"},
        {"018bcfe5-6800-7000-8000-00000000000b", "a\nto", 4, "a\n"},
        {"018bcfe5-6800-7000-8000-00000000000c", "a\n\0\0\0\0", 6, "a\n"},
        {"018bcfe5-6800-7000-8000-00000000000d", "a\nto\0\0", 6, "a\n"},
        {"018bcfe5-6800-7000-8000-00000000000e", "", 0, NULL},
        {"018bcfe5-6800-7000-8000-00000000000f", "torn", 4, NULL},
        {"018bcfe5-6801-7000-8000-000000000000", "\0\0\0\0", 4, NULL},
    };
    struct spool_abandoned abandoned;

    (void)state;
    for (size_t i = 0; i != sizeof(left) / sizeof(left[0]); ++i) {
        char path[PATH_MAX];

        leave(left[i].id, left[i].bytes, left[i].length);
        snprintf(path, sizeof(path), "%s/" ABANDONED "/%s", base, left[i].id);
        if (left[i].repaired == NULL) {
            if (spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned)) {
                assert_null(abandoned.segments);
                spool_abandoned_release(&abandoned);
            }
        } else {
            struct spool_segment *segment;

            assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
            segment = abandoned.segments;
            assert_holds(segment, left[i].repaired);
            assert_int_equal(segment->rows, segment->bytes / 2);
            assert_int_equal(segment->trigger, SPOOL_RECOVERY);
            assert_null(segment->next);
            abandoned.segments = NULL;
            spool_discard(NULL, segment);
            spool_abandoned_release(&abandoned);
        }
        assert_false(exists(path));
        assert_int_equal(count_entries(base), 0);
    }
}

static void test_what_was_left_comes_in_order(void **state)
{
    struct spool_abandoned abandoned;

    (void)state;
    LEAVE(NEWER_ID, "new\n");
    LEAVE(OLDER_ID, "old\n");
    LEAVE("notes.txt", "not ours\n");
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
    assert_holds(abandoned.segments, "old\n");
    assert_holds(abandoned.segments->next, "new\n");
    assert_null(abandoned.segments->next->next);
    spool_abandoned_release(&abandoned); /* unsent: everything stays */
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
    assert_holds(abandoned.segments, "old\n");
    spool_abandoned_release(&abandoned);
}

static void test_a_directory_is_adopted_once(void **state)
{
    struct spool_abandoned first, second;

    (void)state;
    LEAVE(OLDER_ID, "old\n");
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &first));
    assert_false(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &second));
    spool_abandoned_release(&first);
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &second));
    spool_abandoned_release(&second);
}

/* Planted by an attacker who controls the service, or left by a corrupt disk. */
static void test_what_is_no_segment_is_passed_over(void **state)
{
    static const char *const ids[] = {"018bcfe5-6800-7000-8000-00000000000a",
                                      "018bcfe5-6800-7000-8000-00000000000b",
                                      "018bcfe5-6800-7000-8000-00000000000c",
                                      "018bcfe5-6800-7000-8000-00000000000d",
                                      "018bcfe5-6800-7000-8000-00000000000e"};
    struct spool_abandoned abandoned;
    char paths[5][PATH_MAX], secret[PATH_MAX], directory[PATH_MAX];

    (void)state;
    LEAVE(OLDER_ID, "good\n");
    for (size_t i = 0; i != COUNT_OF(ids); ++i)
        snprintf(paths[i], sizeof(paths[i]), "%s/" ABANDONED "/%s", base, ids[i]);
    snprintf(secret, sizeof(secret), "%s/secret", base);
    write_text(secret, "secret\ntorn", 11);
    assert_int_equal(symlink(secret, paths[0]), 0);
    assert_int_equal(link(secret, paths[1]), 0);
    assert_int_equal(mkfifo(paths[2], 0600), 0);
    assert_int_equal(mkdir(paths[3], 0700), 0);
    write_text(paths[4], "", 0);
    assert_int_equal(truncate(paths[4], (off_t)3 << 30), 0);
    snprintf(directory, sizeof(directory), "%s/" NEWER_ID, base); /* looks like another directory */
    assert_int_equal(symlink(ABANDONED, directory), 0);

    for (int look = 0; look != 2; ++look) {
        const char *tried = "";

        while (spool_abandoned_adopt(base, tried, FORMAT, &passed_over, &abandoned)) {
            assert_holds(abandoned.segments, "good\n");
            assert_null(abandoned.segments->next);
            spool_abandoned_release(&abandoned);
            tried = ABANDONED;
        }
        assert_int_equal(counter_read(&passed_over.files), 6);
    }
    assert_file_holds(secret, "secret\ntorn"); /* not even truncated */
}

static void leave_beside_notes(const char *name)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    assert_int_equal(mkdir(path, 0700), 0);
    strcat(path, "/notes.txt");
    write_text(path, "not ours\n", 9);
    snprintf(path, sizeof(path), "%s/%s/" OLDER_ID, base, name);
    write_text(path, "old\n", 4);
}

static void test_what_cannot_be_removed_hides_nothing(void **state)
{
    static const char *const names[] = {
        "018bcfe5-6803-7000-8000-000000000002",
        "018bcfe5-6803-7000-8000-000000000001",
    };
    const char *tried = "";

    (void)state;
    leave_beside_notes(names[0]);
    leave_beside_notes(names[1]);
    for (int i = 2; i-- != 0; tried = names[i]) {
        struct spool_abandoned abandoned;
        struct spool_segment *segment;

        assert_true(spool_abandoned_adopt(base, tried, FORMAT, &passed_over, &abandoned));
        assert_non_null(strstr(abandoned.directory, names[i]));
        segment = abandoned.segments;
        assert_holds(segment, "old\n");
        abandoned.segments = NULL;
        spool_discard(NULL, segment);
        spool_abandoned_release(&abandoned);
        assert_int_equal(count_entries(base), 2);
    }
    assert_false(
        spool_abandoned_adopt(base, tried, FORMAT, &passed_over, &(struct spool_abandoned){0}));
}

static void test_what_a_dead_process_left_is_whole(void **state)
{
    struct spool_abandoned abandoned;
    struct spool_segment *segment;
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child != -1);
    if (child == 0) {
        struct spool_config config = {base, SPOOL_RESERVE, 2, NEVER_MS, FORMAT};
        struct failure failure;

        if (!spool_open(&spool, &config, &failure))
            _exit(1);
        spool_writer_open(&writer, &spool);
        for (int i = 0; i != 3; ++i)
            record(&writer, "row");
        append(&writer, "not answered for");
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
    segment = abandoned.segments; /* two of the same millisecond, in either order */
    assert_holds(segment, segment->rows == 2 ? "row\nrow\n" : "row\n");
    assert_int_equal(segment->rows + segment->next->rows, 3);
    assert_null(segment->next->next);
    spool_abandoned_release(&abandoned);
}

static atomic_bool adopting;

static void *adopt_all(void *unused)
{
    while (atomic_load(&adopting)) {
        struct spool_abandoned abandoned;

        if (spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned))
            spool_abandoned_release(&abandoned);
    }
    return unused;
}

static void test_starting_while_another_adopts(void **state)
{
    pthread_t thread;

    (void)state;
    atomic_store(&adopting, true);
    assert_int_equal(pthread_create(&thread, NULL, adopt_all, NULL), 0);
    for (int i = 0; i != 2000; ++i) {
        open_spool(SPOOL_RESERVE, 1, NEVER_MS);
        assert_true(exists(spool.directory));
        close_spool();
    }
    atomic_store(&adopting, false);
    pthread_join(thread, NULL);
}

/* Formats */

#define OLD_NAME   "018bcfe5-6800-7000-8000-00000000000a"
#define KNOWN_NAME "018bcfe5-6800-7000-8000-00000000000b.2"
#define NEWER_NAME "018bcfe5-6800-7000-8000-00000000000c.3"

static void test_names_hold_the_format(void **state)
{
    static const struct {
        const char *tail;
        unsigned format;
        const char *rest;
    } read[] = {
        {"", 1, ""},
        {".2", 2, ""},
        {".17", 17, ""},
        {".999999999", 999999999, ""},
        {".rejected", 1, ".rejected"},
        {".2.rejected", 2, ".rejected"},
        /* One file has one name. */
        {".1", 1, ".1"},
        {".0", 1, ".0"},
        {".02", 1, ".02"},
        {".1000000000", 1, ".1000000000"},
        {".", 1, "."},
        {"2", 1, "2"},
        {".2x", 2, "x"},
    };
    char name[100];
    struct uuid id;
    unsigned format;

    (void)state;
    for (size_t i = 0; i != COUNT_OF(read); ++i) {
        snprintf(name, sizeof(name), OLDER_ID "%s", read[i].tail);
        assert_string_equal(spool_name_read(name, &id, &format), read[i].rest);
        assert_int_equal(format, read[i].format);
        if (spool_name_is_segment(name, &id, &format)) {
            char written[SPOOL_NAME_SIZE];

            spool_name_write(&id, format, written);
            assert_string_equal(written, name);
        } else {
            assert_string_not_equal(read[i].rest, "");
        }
    }
    assert_null(spool_name_read("018bcfe5-6800-7000-8000-00000000000.2", &id, &format));
    assert_null(spool_name_read("", &id, &format));
}

static void test_the_format_that_is_written(void **state)
{
    static const char *const tails[] = {"", "", ".2", ".3"};

    (void)state;
    for (unsigned format = 1; format != COUNT_OF(tails); ++format) {
        struct spool_segment *taken;

        open_spool(SPOOL_RESERVE, 1, NEVER_MS);
        spool.config.format = format;
        record(&writer, "row");
        taken = spool_take(&spool, 0);
        assert_int_equal(taken->format, format);
        assert_string_equal(taken->name + UUID_TEXT_LENGTH, tails[format]);
        assert_holds(taken, "row\n");
        spool_discard(&spool, taken);
        close_spool();
    }
}

/* Of a newer program: another that knows it will send it. */
static void test_a_newer_format_is_left_alone(void **state)
{
    struct spool_abandoned abandoned;
    struct spool_segment *segment;
    char path[PATH_MAX];

    (void)state;
    LEAVE(NEWER_NAME, "newer\nnot torn");
    LEAVE(KNOWN_NAME, "known\n");
    LEAVE(OLD_NAME, "old\n");
    assert_true(spool_abandoned_adopt(base, "", FORMAT, &passed_over, &abandoned));
    segment = abandoned.segments;
    assert_int_equal(segment->format, 1);
    assert_holds(segment, "old\n");
    assert_int_equal(segment->next->format, 2);
    assert_holds(segment->next, "known\n");
    assert_null(segment->next->next);
    abandoned.segments = NULL;
    spool_discard(NULL, segment->next);
    spool_discard(NULL, segment);
    spool_abandoned_release(&abandoned);
    snprintf(path, sizeof(path), "%s/" ABANDONED "/" NEWER_NAME, base);
    assert_file_holds(path, "newer\nnot torn");
    assert_int_equal(counter_read(&passed_over.files), 0);

    assert_true(spool_abandoned_adopt_named(base, ABANDONED, 3, &passed_over, &abandoned));
    assert_int_equal(abandoned.segments->format, 3);
    assert_holds(abandoned.segments, "newer\n");
    spool_abandoned_release(&abandoned);
}

static const struct spool_entry *find_entry(const struct spool_entry *entries, const char *end)
{
    for (; entries != NULL; entries = entries->next) {
        size_t length = strlen(entries->name);

        if (length >= strlen(end) && strcmp(entries->name + length - strlen(end), end) == 0)
            return entries;
    }
    return NULL;
}

static void test_listing_formats(void **state)
{
    struct spool_entry *entries;
    const struct spool_entry *entry;
    struct failure failure;
    char path[PATH_MAX];

    (void)state;
    LEAVE(OLD_NAME, "a\n");
    LEAVE(KNOWN_NAME, "b\nc\n");
    LEAVE(NEWER_NAME, "d\n");
    for (int i = 0; i != 3; ++i) {
        static const char *const names[] = {KNOWN_NAME ".rejected", OLDER_ID ".rejected",
                                            NEWER_NAME ".expired"};

        snprintf(path, sizeof(path), "%s/%s", base, names[i]);
        write_text(path, "e\n", 2);
    }
    assert_true(spool_list(base, FORMAT, &entries, &failure));
    entry = find_entry(entries, ABANDONED);
    assert_int_equal(entry->kind, SPOOL_ABANDONED);
    assert_int_equal(entry->segments, 2);
    assert_int_equal(entry->rows, 3);
    assert_true(entry->newer);
    entry = find_entry(entries, "/" NEWER_NAME);
    assert_int_equal(entry->kind, SPOOL_SEGMENT);
    assert_true(entry->newer);
    assert_int_equal(entry->format, 3);
    assert_null(find_entry(entries, "/" KNOWN_NAME));
    entry = find_entry(entries, NEWER_NAME ".expired");
    assert_int_equal(entry->kind, SPOOL_EXPIRED);
    assert_true(entry->newer);
    assert_int_equal(entry->rows, 0);
    entry = find_entry(entries, KNOWN_NAME ".rejected");
    assert_int_equal(entry->kind, SPOOL_REJECTED);
    assert_false(entry->newer);
    assert_int_equal(entry->format, 2);
    assert_int_equal(entry->rows, 1);
    assert_true(spool_list_is_waiting(entries, entry));
    assert_false(spool_list_is_waiting(entries, find_entry(entries, OLDER_ID ".rejected")));
    spool_list_free(entries);
}

static void test_bringing_back_keeps_the_format(void **state)
{
    static const char *const names[] = {OLDER_ID ".rejected", NEWER_ID ".2.rejected"};
    struct spool_segment *segments = NULL;
    struct spool_entry *entries, *entry;
    struct failure failure;
    char path[PATH_MAX];

    (void)state;
    for (size_t i = 0; i != COUNT_OF(names); ++i) {
        snprintf(path, sizeof(path), "%s/%s", base, names[i]);
        write_text(path, i == 0 ? "old\n" : "known\n", i == 0 ? 4 : 6);
    }
    open_spool(SPOOL_RESERVE, 1, NEVER_MS);
    assert_true(spool_list(base, FORMAT, &entries, &failure));
    for (entry = entries; entry != NULL; entry = entry->next) {
        if (entry->kind == SPOOL_REJECTED)
            assert_true(
                spool_abandoned_bring_back(&spool, entry, &passed_over, &segments, &failure));
    }
    spool_list_free(entries);
    assert_int_equal(segments->format, 1);
    assert_holds(segments, "old\n");
    assert_int_equal(segments->next->format, 2);
    assert_holds(segments->next, "known\n");
    spool_segment_free_all(segments);
    close_spool();
}

#define IN_BASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BASE(test_a_batch_ends_with_its_rows),
        IN_BASE(test_a_pass_is_never_divided),
        IN_BASE(test_a_batch_ends_with_its_age),
        IN_BASE(test_a_batch_is_that_of_all_writers),
        IN_BASE(test_a_segment_without_rows_leaves_nothing),
        IN_BASE(test_what_was_given_back_comes_first),
        IN_BASE(test_the_age_of_the_oldest),
        IN_BASE(test_the_bound_of_bytes),
        IN_BASE(test_the_bound_of_a_pass),
        IN_BASE(test_room_that_comes_is_seen_without_being_asked_for),
        IN_BASE(test_what_was_reserved_goes_back),
        IN_BASE(test_a_short_write_is_cut_back),
        IN_BASE(test_a_first_pass_that_fails_leaves_nothing),
        IN_BASE(test_a_segment_that_cannot_be_made),
        IN_BASE(test_syncing_and_reading),
        IN_BASE(test_what_is_no_segment_any_more_is_lost),
        IN_BASE(test_syncing_what_is_closed),
        IN_BASE(test_what_root_makes_belongs_to_whom_the_base_belongs),
        IN_BASE(test_setting_aside),
        IN_BASE(test_names_are_synced_where_that_can_be),
        IN_BASE(test_nothing_is_left),
        IN_BASE(test_what_was_left_is_repaired),
        IN_BASE(test_what_was_left_comes_in_order),
        IN_BASE(test_a_directory_is_adopted_once),
        IN_BASE(test_what_is_no_segment_is_passed_over),
        IN_BASE(test_what_cannot_be_removed_hides_nothing),
        IN_BASE(test_what_a_dead_process_left_is_whole),
        IN_BASE(test_starting_while_another_adopts),
        IN_BASE(test_names_hold_the_format),
        IN_BASE(test_the_format_that_is_written),
        IN_BASE(test_a_newer_format_is_left_alone),
        IN_BASE(test_listing_formats),
        IN_BASE(test_bringing_back_keeps_the_format),
    };

    return cmocka_run_group_tests_name("spool", tests, NULL, NULL);
}
