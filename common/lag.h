/* How long one turn of this thread's loop keeps everything else waiting.
 *
 * h2o does not say when its wait for events ends and its work begins. So each of our callbacks that
 * may run first in a turn marks the time; this leaves out the work before it, such as one read.
 */
#ifndef COMMON_LAG_H
#define COMMON_LAG_H

#include <stdint.h>

#include "common/clock.h"

extern _Thread_local uint64_t lag_since_us; /* monotonic; 0: nothing has happened in this turn */

/* Marks the start of the turn, unless an earlier callback has. */
static inline void lag_begin(void)
{
    if (lag_since_us == 0)
        lag_since_us = clock_monotonic_us();
}

#define LAG_WORK_US 600 /* with the rest of the turn, about 1 ms */

/* How long slow work, such as signatures, may go on in this turn: until then, in monotonic
 * microseconds. It gets as long as the rest of the turn took, and at least LAG_WORK_US: a flood of
 * cheaply refused requests then gets only half of the server's time, not nearly all. */
static inline uint64_t lag_work_until_us(void)
{
    uint64_t now_us;

    lag_begin();
    now_us = clock_monotonic_us();
    return now_us + (now_us - lag_since_us > LAG_WORK_US ? now_us - lag_since_us : LAG_WORK_US);
}

#endif
