/* SipHash-1-3: a hash for tables that outsiders fill. Without the key nobody can make keys that
 * collide. For 64-bit results with one round a word and three at the end (Aumasson and Bernstein,
 * "SipHash: a fast short-input PRF").
 */
#ifndef COMMON_SIPHASH_H
#define COMMON_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
    uint64_t words[2];
};

uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t length);

/* By a key that the process has drawn at its start. */
uint64_t siphash_seeded(const void *bytes, size_t length);

#endif
