/* Events with fields, one line each, to stderr: `event=ledger.flushed rows=1000 ms=6` as text, or
 * the same as one JSON object. Never pass a secret, a token or an assertion.
 *
 *     log_info("pg.connected", log_str("host", host), log_int("ms", elapsed));
 *
 * Names of events and fields are constants of [a-z0-9_.]; values may be anything: they are escaped,
 * and cut after 512 bytes. Thread-safe. A call writes its line before it returns and blocks while
 * stderr does; between log_start and log_stop a thread writes instead, and callers never block.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/slice.h"

#define LOG_QUEUE_BYTES (256 * 1024) /* of lines waiting for the thread; more are dropped */

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

struct log_field {
    const char *name;
    enum { LOG_STRING, LOG_INTEGER } kind;
    struct slice string;
    int64_t integer;
};

static inline struct log_field log_slice(const char *name, struct slice value)
{
    return (struct log_field){.name = name, .kind = LOG_STRING, .string = value};
}

static inline struct log_field log_str(const char *name, const char *value)
{
    return log_slice(name, slice_of(value != NULL ? value : ""));
}

static inline struct log_field log_int(const char *name, int64_t value)
{
    return (struct log_field){.name = name, .kind = LOG_INTEGER, .integer = value};
}

/* Call before the first thread starts; the level may change at any time. */
void log_setup(enum log_level level, enum log_format format);
void log_set_level(enum log_level level);

/* Lines from the calling thread carry this worker number. */
void log_set_worker(int number);

enum log_level log_level(void);

const char *log_level_name(enum log_level level);

/* False when no level has that name. */
MUST_USE bool log_level_parse(const char *name, enum log_level *level);

/* Starts the thread. False when that fails. */
MUST_USE bool log_start(void);

/* Ends the thread once everything is written. After `timeout_ms`, gives up on the rest and on all
 * later lines. Harmless without a thread. */
void log_stop(unsigned timeout_ms);

/* Lines dropped since the start. */
uint64_t log_dropped(void);

void log_write(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);

/* Logs at any level, for events with a switch of their own; shown as level info. */
void log_always(const char *event, const struct log_field *fields, size_t count);

#define LOG_AT(level, event, ...)                                                                  \
    log_write(level, event, (const struct log_field[]){__VA_ARGS__},                               \
              sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))

#define log_error(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define log_warn(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_info(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_debug(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

#endif
