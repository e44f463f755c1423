/* uthash with a keyed hash, since outsiders choose the keys of most of our tables. */
#ifndef COMMON_MAP_H
#define COMMON_MAP_H

#include "common/siphash.h"

#define HASH_FUNCTION(bytes, length, hash) ((hash) = (unsigned)siphash_seeded(bytes, length))

#include <uthash.h>

#endif
