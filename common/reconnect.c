#include "common/reconnect.h"

#include <stdio.h>
#include <string.h>

static void on_timer(struct timer *timer);

void reconnect_open(struct reconnect *reconnect, struct timers *timers)
{
    reconnect->timers = timers;
    reconnect->timer.on_time = on_timer;
}

void reconnect_try(struct reconnect *reconnect)
{
    reconnect_begin_connecting(reconnect);
    reconnect->start(reconnect);
}

void reconnect_begin_connecting(struct reconnect *reconnect)
{
    timer_start(reconnect->timers, &reconnect->timer, reconnect->connect_timeout_ms);
}

void reconnect_move(struct reconnect *reconnect, enum reconnect_state state)
{
    enum reconnect_state before = reconnect->state;

    reconnect->state = state;
    if (state == RECONNECT_READY) {
        timer_stop(reconnect->timers, &reconnect->timer);
        backoff_reset(&reconnect->backoff);
        reconnect->reason.reason[0] = '\0';
    }
    if (state != before)
        reconnect->on_state(reconnect, before);
}

static void stop(struct reconnect *reconnect)
{
    timer_stop(reconnect->timers, &reconnect->timer);
    reconnect->stop(reconnect);
    reconnect->broken = NULL;
}

void reconnect_lose(struct reconnect *reconnect, const char *reason)
{
    enum reconnect_state before = reconnect->state;
    struct failure why; /* a copy: `reason` may point into the connection, or be its reason */
    bool is_news;

    failure_set(&why, "%s", reason);
    failure_one_line(&why);
    is_news = before == RECONNECT_READY || strcmp(why.reason, reconnect->reason.reason) != 0;
    stop(reconnect);
    reconnect->reason = why;
    reconnect_move(reconnect, RECONNECT_DOWN);
    if (reconnect->on_lost(reconnect, before, is_news))
        timer_start(reconnect->timers, &reconnect->timer, 1);
    else
        timer_start(reconnect->timers, &reconnect->timer, backoff_pause_ms(&reconnect->backoff));
}

void reconnect_renew(struct reconnect *reconnect)
{
    stop(reconnect);
    reconnect->state = RECONNECT_DOWN;
    reconnect_try(reconnect);
}

void reconnect_break_off(struct reconnect *reconnect, const char *reason)
{
    reconnect->broken = reason;
    timer_start(reconnect->timers, &reconnect->timer, 1);
}

static void on_timer(struct timer *timer)
{
    struct reconnect *reconnect = H2O_STRUCT_FROM_MEMBER(struct reconnect, timer, timer);

    if (reconnect->state == RECONNECT_DOWN)
        reconnect_try(reconnect);
    else if (reconnect->broken != NULL)
        reconnect_lose(reconnect, reconnect->broken);
    else if (reconnect->state == RECONNECT_RESOLVING)
        reconnect->on_slow_name(reconnect);
    else if (reconnect->state == RECONNECT_CONNECTING)
        reconnect_lose(reconnect, reconnect->too_slow);
    else
        reconnect->on_overdue(reconnect);
}

void reconnect_close(struct reconnect *reconnect)
{
    stop(reconnect);
    reconnect_move(reconnect, RECONNECT_DOWN);
}
