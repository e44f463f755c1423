#include "common/private_memory.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define SMALLEST_BLOCK 64

/* glibc's cache of each thread: up to SMALL_KEPT blocks of each size up to SMALL_LAST. */
#define SMALL_KEPT  7
#define SMALL_FIRST 24
#define SMALL_STEP  16
#define SMALL_LAST  1032

void private_memory_begin(void)
{
    struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    mallopt(M_PERTURB, 0xFF); /* free() overwrites all but small blocks; malloc() zeroes */
#ifndef __SANITIZE_ADDRESS__  /* its leak check must trace us */
    prctl(PR_SET_DUMPABLE, 0);
#endif
}

bool private_memory_lock(void)
{
    return CRYPTO_secure_malloc_init(PRIVATE_MEMORY_BYTES, SMALLEST_BLOCK) == 1;
}

/* Only malloc reaches its cache: so allocate all of it, wipe it and free it. */
void private_memory_wipe_small(void)
{
    for (size_t size = SMALL_FIRST; size <= SMALL_LAST; size += SMALL_STEP) {
        void *pieces[SMALL_KEPT];

        for (size_t i = 0; i != SMALL_KEPT; ++i) {
            if ((pieces[i] = malloc(size)) != NULL)
                OPENSSL_cleanse(pieces[i], size);
        }
        for (size_t i = 0; i != SMALL_KEPT; ++i)
            free(pieces[i]);
    }
}
