/* How long to wait before something is tried again: longer each time, and partly at random, so that
 * many do not come back at once.
 */
#ifndef COMMON_BACKOFF_H
#define COMMON_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* Zero it and set the bounds; `max_ms` counts before the random part, of up to a half. */
struct backoff {
    uint64_t min_ms, max_ms;
    uint64_t next_ms; /* 0: nothing has failed since the last success */
};

/* After a failure: how long to wait, in milliseconds, at least 1. */
uint64_t backoff_pause_ms(struct backoff *backoff);

/* It went well. */
static inline void backoff_reset(struct backoff *backoff)
{
    backoff->next_ms = 0;
}

static inline bool backoff_is_failing(const struct backoff *backoff)
{
    return backoff->next_ms != 0;
}

#endif
