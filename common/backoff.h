/* Delays before a retry: they grow exponentially and have jitter, so that many clients do not
 * return at once.
 */
#ifndef COMMON_BACKOFF_H
#define COMMON_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* Zero it and set the bounds. Each pause is random, between half the current delay and all of
 * it. */
struct backoff {
    uint64_t min_ms, max_ms;
    uint64_t next_ms; /* 0: nothing has failed since the last success */
};

/* After a failure: how long to wait, in milliseconds, at least 1. */
uint64_t backoff_pause_ms(struct backoff *backoff);

/* After a success. */
static inline void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = 0;
}

static inline bool backoff_is_failing(const struct backoff *backoff)
{
    return backoff->next_ms != 0;
}

#endif
