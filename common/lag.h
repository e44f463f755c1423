/* How long one turn of this thread's loop keeps everything else waiting.
 *
 * h2o does not say when its wait for events ends and its work begins. So each of our callbacks that
 * h2o may call first in a turn says that it was called; what h2o itself has done before, reading
 * and parsing one request, is left out.
 */
#ifndef COMMON_LAG_H
#define COMMON_LAG_H

#include <stdint.h>

#include "common/clock.h"

extern _Thread_local uint64_t lag_since_us; /* monotonic; 0: nothing has happened in this turn */

/* The turn begins now, at the latest. */
static inline void lag_begin(void)
{
    if (lag_since_us == 0)
        lag_since_us = clock_monotonic_us();
}

#endif
