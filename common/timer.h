/* Deadlines on the monotonic clock: one timerfd per loop, timers embedded in what they are for.
 *
 * h2o's own timeouts use the wall clock: when it steps back an hour, each of them is an hour late.
 * Nothing that must happen relies on them.
 */
#ifndef COMMON_TIMER_H
#define COMMON_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/watch.h"

/* Zero it and set `on_time`. The timer is already stopped when `on_time` is called, which may start
 * or stop any timer and free this one. */
struct timer {
    struct timer *prev, *next;
    uint64_t at_ms; /* monotonic; 0: not running */
    void (*on_time)(struct timer *);
};

struct timers {
    struct timer *first; /* soonest first */
    struct watch watch;
    int fd;
    uint64_t armed_ms; /* what the timerfd is set to; 0: nothing */
};

MUST_USE bool timers_open(struct timers *timers, h2o_loop_t *loop);

/* All timers must have been stopped. */
void timers_close(struct timers *timers);

/* Calls `on_time` once, `delay_ms` from now. Restarts a running timer. Cheap when the delay is
 * longer than most of those running. */
void timer_start(struct timers *timers, struct timer *timer, uint64_t delay_ms);

/* Harmless when it is not running. */
void timer_stop(struct timers *timers, struct timer *timer);

static inline bool timer_is_running(const struct timer *timer)
{
    return timer->at_ms != 0;
}

#endif
