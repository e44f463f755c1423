/* What this process knows stays in it, and no longer than it is needed: secrets are not in core
 * files, other processes of its user cannot look in, and what is freed is overwritten: libraries
 * copy what they are given when their buffers grow, and wipe nothing. */
#ifndef COMMON_PRIVATE_MEMORY_H
#define COMMON_PRIVATE_MEMORY_H

#include <stdbool.h>

#include "common/attributes.h"

#define PRIVATE_MEMORY_BYTES (4 * 1024 * 1024) /* that are locked, as far as they are used */

/* To be called first of all. */
void private_memory_begin(void);

/* From here on, keys are in memory of their own that is locked: OPENSSL_secure_malloc gives it, to
 * OpenSSL too. False when the system does not lock that much (RLIMIT_MEMLOCK); the rest holds. */
MUST_USE bool private_memory_lock(void);

/* Wipes the small pieces that this thread has freed, which malloc keeps as they are for its next
 * use. To be called now and then by every thread that frees secrets. */
void private_memory_wipe_small(void);

#endif
