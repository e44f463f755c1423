#include "common/buffer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *buffer_reserve(struct buffer *buffer, size_t length)
{
    if (buffer->capacity - buffer->size < length) {
        size_t capacity = buffer->capacity != 0 ? buffer->capacity : 256;

        while (capacity - buffer->size < length)
            capacity *= 2;
        if ((buffer->bytes = realloc(buffer->bytes, capacity)) == NULL) {
            fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
            abort();
        }
        buffer->capacity = capacity;
    }
    return buffer->bytes + buffer->size;
}

char *buffer_try_reserve(struct buffer *buffer, size_t length)
{
    char *bytes;

    if (buffer->capacity - buffer->size < length) {
        if ((bytes = realloc(buffer->bytes, buffer->size + length)) == NULL)
            return NULL;
        buffer->bytes = bytes;
        buffer->capacity = buffer->size + length;
    }
    return buffer->bytes + buffer->size;
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    size_t room = buffer->capacity - buffer->size;
    va_list values, again;
    int length;

    va_start(values, format);
    va_copy(again, values);
    length = vsnprintf(room != 0 ? buffer->bytes + buffer->size : NULL, room, format, values);
    va_end(values);
    if (length > 0) {
        if ((size_t)length >= room)
            vsnprintf(buffer_reserve(buffer, (size_t)length + 1), (size_t)length + 1, format,
                      again);
        buffer->size += (size_t)length;
    }
    va_end(again);
}

/* The length of the valid UTF-8 sequence at `bytes` (RFC 3629 4), or 0. */
static size_t utf8_length(const unsigned char *bytes, size_t left)
{
    unsigned char first = bytes[0], low = 0x80, high = 0xBF;
    size_t length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;

    if (length == 0 || first > 0xF4 || length > left)
        return 0;
    if (first == 0xE0)
        low = 0xA0; /* overlong otherwise */
    else if (first == 0xED)
        high = 0x9F; /* surrogates */
    else if (first == 0xF0)
        low = 0x90;
    else if (first == 0xF4)
        high = 0x8F; /* past U+10FFFF */
    for (size_t i = 1; i < length; ++i) {
        if (bytes[i] < low || bytes[i] > high)
            return 0;
        low = 0x80;
        high = 0xBF;
    }
    return length;
}

void buffer_append_json(struct buffer *buffer, struct slice text)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes;

    for (size_t i = 0; i < text.length;) {
        size_t length = utf8_length(bytes + i, text.length - i);

        if (length == 0) {
            buffer_append_text(buffer, "\\ufffd");
            ++i;
            continue;
        }
        if (bytes[i] == '"' || bytes[i] == '\\')
            buffer_printf(buffer, "\\%c", bytes[i]);
        else if (bytes[i] < 0x20 || bytes[i] == 0x7F)
            buffer_printf(buffer, "\\u%04x", bytes[i]);
        else if (bytes[i] == 0xC2 && bytes[i + 1] < 0xA0) /* C1 control characters */
            buffer_printf(buffer, "\\u%04x", bytes[i + 1]);
        else
            buffer_append(buffer, bytes + i, length);
        i += length;
    }
}

void buffer_dispose(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}
