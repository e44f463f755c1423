/* SipHash-1-3, for tables whose keys outsiders choose: without the hash key nobody can construct
 * collisions. 64-bit result, one round per word and three at the end (Aumasson and Bernstein,
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

/* With a random key drawn at process start. */
uint64_t siphash_seeded(const void *bytes, size_t length);

#endif
