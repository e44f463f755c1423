#include "auth/quota/tier.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char names[TIER_MAX - 1][TIER_NAME_MAX + 1]; /* those below `count` never change */
static _Atomic unsigned count;

unsigned tier_number(const char *name)
{
    unsigned number;

    pthread_mutex_lock(&lock);
    for (number = 0; number != count && strcmp(names[number], name) != 0; ++number)
        ;
    if (number == count && count != TIER_MAX - 1) {
        snprintf(names[number], sizeof(names[number]), "%s", name);
        atomic_fetch_add(&count, 1);
    }
    pthread_mutex_unlock(&lock);
    return number;
}

const char *tier_name(unsigned number)
{
    if (number == TIER_MAX - 1)
        return "other";
    return number < atomic_load(&count) ? names[number] : NULL;
}
