/* A view of bytes that somebody else owns; not NUL-terminated. */
#ifndef COMMON_SLICE_H
#define COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *bytes;
    size_t length;
};

/* For string constants. */
#define SLICE(text) ((struct slice){(text), sizeof(text) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

/* Not in constant time: never for secrets. */
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

/* Strips `byte` from the end, as often as it is there. */
static inline struct slice slice_trim_end(struct slice text, char byte)
{
    while (text.length != 0 && text.bytes[text.length - 1] == byte)
        --text.length;
    return text;
}

#endif
