/* Keeps secrets inside this process, and no longer than needed: no core files, no access for other
 * processes of its user, and freed memory is overwritten, since libraries copy what they are given
 * when their buffers grow, and wipe nothing. */
#ifndef COMMON_PRIVATE_MEMORY_H
#define COMMON_PRIVATE_MEMORY_H

#include <stdbool.h>

#include "common/attributes.h"

#define PRIVATE_MEMORY_BYTES (4 * 1024 * 1024) /* locked as they are used */

/* Call it before anything else. */
void private_memory_begin(void);

/* From here on, OPENSSL_secure_malloc returns locked memory from a pool of its own, and OpenSSL
 * puts keys there. False when the system does not lock that much (RLIMIT_MEMLOCK); the rest still
 * holds. */
MUST_USE bool private_memory_lock(void);

/* Wipes the small blocks that this thread has freed and malloc caches as they are. Every thread
 * that frees secrets must call it now and then. */
void private_memory_wipe_small(void);

#endif
