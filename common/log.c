/* Log lines: see log.h. */
#include "common/log.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/buffer.h"
#include "common/clock.h"

#define MAX_VALUE 512 /* bytes of one field */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static _Atomic int log_level = LOG_LEVEL_INFO;
static enum log_format log_format = LOG_FORMAT_TEXT;
static _Atomic unsigned lost_lines;

void log_setup(enum log_level level, enum log_format format)
{
    log_set_level(level);
    log_format = format;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

static void append_time(struct buffer *line)
{
    int64_t now_ms = clock_unix_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    char text[32];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    buffer_printf(line, "%s.%03dZ", text, (int)(now_ms % 1000));
}

/* In text, a value is quoted when a reader could not tell where it ends. */
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

    buffer_printf(line, json ? ",\"%s\":" : " %s=", field->name);
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

/* A log that nobody reads must not stop the service: what does not fit now is counted and lost. */
static void write_line(const struct buffer *line)
{
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    unsigned lost;
    ssize_t written;

    if (poll(&log, 1, 0) != 1 || (log.revents & POLLOUT) == 0) {
        atomic_fetch_add(&lost_lines, 1);
        return;
    }
    written = write(STDERR_FILENO, line->bytes, line->size);
    (void)written;
    if ((lost = atomic_exchange(&lost_lines, 0)) != 0)
        log_warn("log.lost", log_int("lines", lost),
                 log_str("reason", "stderr was not read fast enough"));
}

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    struct buffer line = {0};

    if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
        return;
    buffer_append_text(&line, log_format == LOG_FORMAT_JSON ? "{\"time\":\"" : "");
    append_time(&line);
    buffer_printf(&line,
                  log_format == LOG_FORMAT_JSON ? "\",\"level\":\"%s\",\"event\":\"%s\""
                                                : " %-5s event=%s",
                  level_names[level], event);
    for (size_t i = 0; i != count; ++i)
        append_field(&line, fields + i);
    buffer_append_text(&line, log_format == LOG_FORMAT_JSON ? "}\n" : "\n");
    write_line(&line);
    buffer_dispose(&line);
}
