/* A growing byte buffer with one owner. Zero it to start; buffer_clear keeps the memory,
 * buffer_dispose frees it. Running out of memory ends the process: without memory it cannot answer,
 * and everything already answered is on disk. */
#ifndef COMMON_BUFFER_H
#define COMMON_BUFFER_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/attributes.h"
#include "common/integer.h"
#include "common/slice.h"

struct buffer {
    char *bytes; /* not NUL-terminated */
    size_t size;
    size_t capacity;
};

/* Room for `length` more bytes at the end; the caller writes there and adds to `size`. */
char *buffer_reserve(struct buffer *buffer, size_t length);

/* The same for a length that comes from outside: allocates no more than that; NULL when out of
 * memory. */
MUST_USE char *buffer_try_reserve(struct buffer *buffer, size_t length);

static inline void buffer_append(struct buffer *buffer, const void *bytes, size_t length)
{
    if (length != 0) {
        memcpy(buffer_reserve(buffer, length), bytes, length);
        buffer->size += length;
    }
}

static inline void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

static inline void buffer_append_integer(struct buffer *buffer, int64_t number)
{
    buffer->size += integer_write(number, buffer_reserve(buffer, INTEGER_LENGTH_MAX));
}

void buffer_printf(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);

/* Appends the inside of a JSON string: escapes quotes, backslashes and control characters, and
 * replaces every byte that is not valid UTF-8 with U+FFFD. */
void buffer_append_json(struct buffer *buffer, struct slice text);

static inline void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
}

void buffer_dispose(struct buffer *buffer);

#endif
