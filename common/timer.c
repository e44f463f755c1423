#include "common/timer.h"

#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"

static void arm(struct timers *timers)
{
    struct itimerspec when = {0};

    /* A needless wake-up costs less than setting the timerfd at each stop. */
    if (timers->first == NULL ||
        (timers->armed_ms != 0 && timers->armed_ms <= timers->first->at_ms))
        return;
    timers->armed_ms = timers->first->at_ms;
    when.it_value.tv_sec = (time_t)(timers->armed_ms / 1000);
    when.it_value.tv_nsec = (long)(timers->armed_ms % 1000) * 1000000;
    timerfd_settime(timers->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_expiry(struct watch *watch)
{
    struct timers *timers = H2O_STRUCT_FROM_MEMBER(struct timers, watch, watch);
    uint64_t expirations, now_ms = clock_monotonic_ms();
    ssize_t got = read(timers->fd, &expirations, sizeof(expirations));

    (void)got; /* nothing to read is fine: the list says what is due */
    timers->armed_ms = 0;
    while (timers->first != NULL && timers->first->at_ms <= now_ms) {
        struct timer *timer = timers->first;

        timer_stop(timers, timer);
        timer->on_time(timer);
    }
    arm(timers);
}

bool timers_open(struct timers *timers, h2o_loop_t *loop)
{
    timers->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timers->watch.on_ready = on_expiry;
    return timers->fd != -1 && watch_open(&timers->watch, loop, timers->fd);
}

void timers_close(struct timers *timers)
{
    watch_close(&timers->watch);
    close(timers->fd);
}

void timer_start(struct timers *timers, struct timer *timer, uint64_t delay_ms)
{
    struct timer *before;

    timer_stop(timers, timer);
    timer->at_ms = clock_monotonic_ms() + delay_ms;
    /* Search from the end: deadlines with the same delay arrive in order, so the place is near.
     * utlist's head points back to the last. */
    before = timers->first != NULL ? timers->first->prev : NULL;
    while (before != NULL && before->at_ms > timer->at_ms)
        before = before != timers->first ? before->prev : NULL;
    if (before == NULL)
        DL_PREPEND(timers->first, timer);
    else
        DL_APPEND_ELEM(timers->first, before, timer);
    arm(timers);
}

void timer_stop(struct timers *timers, struct timer *timer)
{
    if (timer->at_ms != 0) {
        DL_DELETE(timers->first, timer);
        timer->at_ms = 0;
    }
}
