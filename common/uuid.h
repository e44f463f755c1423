/* Version 7 UUIDs (RFC 9562 5.7): 48 bits of Unix milliseconds, then random bits. */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/slice.h"

#define UUID_TEXT_LENGTH 36

struct uuid {
    unsigned char bytes[16];
};

/* Random bytes drawn from OpenSSL in blocks, since a draw costs far more than the bytes. One
 * owner, one thread; zero it to start. */
struct uuid_source {
    unsigned char block[4096];
    size_t left; /* unused bytes at the end of `block` */
};

/* False when the system has no randomness. `unix_ms`: Unix milliseconds, below 2^48. */
MUST_USE bool uuid_v7_make(struct uuid_source *source, int64_t unix_ms, struct uuid *uuid);

/* Writes 36 lower-case characters, no NUL. */
void uuid_format(const struct uuid *uuid, char *text);

/* Reads the 36-character form, hex digits of either case. */
MUST_USE bool uuid_parse(struct slice text, struct uuid *uuid);

/* The Unix milliseconds in a version 7 UUID. */
int64_t uuid_v7_unix_ms(const struct uuid *uuid);

#endif
