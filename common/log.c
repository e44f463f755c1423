/* While the log thread runs, lines go to a bounded queue. The thread takes the whole queue at once
 * and may wait for the reader of stderr indefinitely. Lines that do not fit are counted, and the
 * thread writes the count after the lines queued before.
 */
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"
#include "common/time_text.h"

#define MAX_VALUE 512 /* bytes of one field */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static _Atomic int current_level = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static bool to_journal; /* each line starts with its priority */
static int pid;
static _Thread_local int worker = -1;
static _Atomic uint64_t dropped_total;

/* Shared by the logging threads and the log thread. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* there is something to write, or the thread has ended */
    pthread_t thread;
    enum { DIRECT, RUNNING, STOPPING, ENDED } state;
    bool idle; /* the thread is waiting for lines */
    struct buffer pending;
    uint64_t dropped; /* lines, since last reported */
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Whether stderr is the stream that systemd connected to the journal (systemd.exec(5)). */
static bool is_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[64];
    struct stat status;

    if (stream == NULL || fstat(STDERR_FILENO, &status) == -1)
        return false;
    snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, own) == 0;
}

void log_setup(enum log_level level, enum log_format format)
{
    log_set_level(level);
    log_format = format;
    to_journal = is_journal();
    pid = getpid();
}

void log_set_worker(int number)
{
    worker = number;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_parse(const char *name, enum log_level *level)
{
    for (size_t i = 0; i != COUNT_OF(level_names); ++i) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static void append_time(struct buffer *line)
{
    time_text_write(clock_unix_ms(), 'T', buffer_reserve(line, TIME_TEXT_LENGTH));
    line->size += TIME_TEXT_LENGTH;
    buffer_append(line, "Z", 1);
}

/* In text format, quotes mark a value whose end would be unclear. */
static bool needs_quotes(struct slice value)
{
    if (value.length == 0)
        return true;
    for (size_t i = 0; i != value.length; ++i) {
        unsigned char c = (unsigned char)value.bytes[i];

        if (c <= ' ' || c >= 0x7F || c == '"' || c == '\\' || c == '=')
            return true;
    }
    return false;
}

static void append_field(struct buffer *line, const struct log_field *field)
{
    struct slice value = field->string;
    bool json = log_format == LOG_FORMAT_JSON;

    buffer_append_text(line, json ? ",\"" : " ");
    buffer_append_text(line, field->name);
    buffer_append_text(line, json ? "\":" : "=");
    if (field->kind == LOG_INTEGER) {
        buffer_printf(line, "%lld", (long long)field->integer);
        return;
    }
    if (value.length > MAX_VALUE)
        value.length = MAX_VALUE;
    if (json || needs_quotes(value)) {
        buffer_append_text(line, "\"");
        buffer_append_json(line, value);
        buffer_append_text(line, "\"");
    } else {
        buffer_append(line, value.bytes, value.length);
    }
}

static void append_line(struct buffer *line, enum log_level level, const char *event,
                        const struct log_field *fields, size_t count)
{
    static const char *const priorities[] = {"<3>", "<4>", "<6>", "<7>"}; /* sd-daemon(3) */
    bool json = log_format == LOG_FORMAT_JSON;

    if (to_journal)
        buffer_append_text(line, priorities[level]);
    buffer_append_text(line, json ? "{\"time\":\"" : "");
    append_time(line);
    buffer_printf(line, json ? "\",\"level\":\"%s\",\"event\":\"%s\"" : " %-5s event=%s",
                  level_names[level], event);
    if (json)
        buffer_printf(line, ",\"pid\":%d", pid);
    if (worker != -1)
        buffer_printf(line, json ? ",\"worker\":%d" : " worker=%d", worker);
    for (size_t i = 0; i != count; ++i)
        append_field(line, fields + i);
    buffer_append_text(line, log_format == LOG_FORMAT_JSON ? "}\n" : "\n");
}

static void drop_lines(const char *bytes, size_t size)
{
    uint64_t lines = 0;

    for (size_t i = 0; i != size; ++i)
        lines += bytes[i] == '\n';
    atomic_fetch_add_explicit(&dropped_total, lines, memory_order_relaxed);
}

/* Blocks as long as stderr does. */
static void write_all(const char *bytes, size_t size)
{
    struct pollfd output = {.fd = STDERR_FILENO, .events = POLLOUT};

    while (size != 0) {
        ssize_t written = write(STDERR_FILENO, bytes, size);

        if (written >= 0) {
            bytes += written;
            size -= (size_t)written;
        } else if (errno == EAGAIN) {
            poll(&output, 1, -1); /* another process made the shared stderr non-blocking */
        } else if (errno != EINTR) {
            drop_lines(bytes, size);
            return;
        }
    }
}

/* Writes complete lines, at most PIPE_BUF bytes at once unless one is longer, so that other writers
 * to the pipe cannot tear them. */
static void write_lines(const struct buffer *lines)
{
    size_t at = 0;

    while (at != lines->size) {
        size_t size = lines->size - at;
        const char *end = size > PIPE_BUF ? memrchr(lines->bytes + at, '\n', PIPE_BUF) : NULL;

        if (end == NULL && size > PIPE_BUF)
            end = memchr(lines->bytes + at, '\n', size);
        if (end != NULL)
            size = (size_t)(end + 1 - (lines->bytes + at));
        write_all(lines->bytes + at, size);
        at += size;
    }
}

/* Takes the queue, waiting while it is empty; false when the thread has to end. */
static bool take(struct buffer *lines)
{
    struct buffer empty = *lines;
    uint64_t dropped;
    bool ends;

    pthread_mutex_lock(&queue.lock);
    while (queue.pending.size == 0 && queue.state == RUNNING) {
        queue.idle = true;
        pthread_cond_wait(&queue.changed, &queue.lock);
    }
    queue.idle = false;
    *lines = queue.pending;
    queue.pending = empty;
    dropped = queue.dropped;
    queue.dropped = 0;
    ends = queue.state != RUNNING && lines->size == 0;
    pthread_mutex_unlock(&queue.lock);
    if (dropped != 0) {
        struct log_field fields[] = {log_int("lines", (int64_t)dropped),
                                     log_str("reason", "stderr was not read fast enough")};

        append_line(lines, LOG_LEVEL_WARN, "log.dropped", fields, 2);
    }
    return !ends;
}

static void *run(void *unused)
{
    struct buffer lines = {0};

    (void)unused;
    while (take(&lines)) {
        write_lines(&lines);
        buffer_clear(&lines);
    }
    buffer_dispose(&lines);
    pthread_mutex_lock(&queue.lock);
    queue.state = ENDED;
    pthread_cond_broadcast(&queue.changed);
    pthread_mutex_unlock(&queue.lock);
    return NULL;
}

bool log_start(void)
{
    pthread_condattr_t monotonic;
    sigset_t all, before;
    int error;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue.changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    queue.state = RUNNING;
    sigfillset(&all); /* other threads handle signals */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&queue.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        queue.state = DIRECT;
    else
        pthread_setname_np(queue.thread, "log");
    return error == 0;
}

void log_stop(unsigned timeout_ms)
{
    struct timespec until;
    bool ended;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        ++until.tv_sec;
    }
    pthread_mutex_lock(&queue.lock);
    if (queue.state == RUNNING) {
        queue.state = STOPPING;
        pthread_cond_broadcast(&queue.changed);
    }
    while (queue.state == STOPPING &&
           pthread_cond_timedwait(&queue.changed, &queue.lock, &until) == 0)
        ;
    ended = queue.state == ENDED;
    pthread_mutex_unlock(&queue.lock);
    if (ended) {
        pthread_join(queue.thread, NULL);
        pthread_cond_destroy(&queue.changed);
        buffer_dispose(&queue.pending);
        queue.state = DIRECT;
    }
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&dropped_total, memory_order_relaxed);
}

/* False when there is no thread: the caller writes the line. */
static bool hand_over(const struct buffer *line)
{
    bool direct;

    pthread_mutex_lock(&queue.lock);
    direct = queue.state == DIRECT;
    if (direct) {
        /* the caller writes it */
    } else if (queue.state != RUNNING || queue.pending.size + line->size > LOG_QUEUE_BYTES) {
        atomic_fetch_add_explicit(&dropped_total, 1, memory_order_relaxed);
        ++queue.dropped;
    } else {
        buffer_append(&queue.pending, line->bytes, line->size);
        if (queue.idle)
            pthread_cond_signal(&queue.changed);
        queue.idle = false;
    }
    pthread_mutex_unlock(&queue.lock);
    return !direct;
}

static void put(enum log_level level, const char *event, const struct log_field *fields,
                size_t count)
{
    struct buffer line = {0};

    append_line(&line, level, event, fields, count);
    if (!hand_over(&line))
        write_all(line.bytes, line.size);
    buffer_dispose(&line);
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    if (level <= log_level())
        put(level, event, fields, count);
}

void log_always(const char *event, const struct log_field *fields, size_t count)
{
    put(LOG_LEVEL_INFO, event, fields, count);
}
