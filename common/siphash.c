#include "common/siphash.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

static struct siphash_key seed;

__attribute__((constructor)) static void draw_seed(void)
{
    arc4random_buf(&seed, sizeof(seed));
}

static inline uint64_t rotate(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void mix(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
}

uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t length)
{
    const uint64_t *k = key->words;
    uint64_t v[4] = {k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
                     k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573};
    const unsigned char *next = bytes;
    uint64_t word, last = (uint64_t)length << 56;

    for (size_t left = length / 8; left != 0; --left, next += 8) {
        memcpy(&word, next, 8);
        absorb(v, le64toh(word));
    }
    for (size_t i = 0; i != length % 8; ++i)
        last |= (uint64_t)next[i] << 8 * i;
    absorb(v, last);
    v[2] ^= 0xff;
    mix(v);
    mix(v);
    mix(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t siphash_seeded(const void *bytes, size_t length)
{
    return siphash(&seed, bytes, length);
}
