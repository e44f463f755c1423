/* A connection that comes back by itself: the states it goes through, when it is tried again, and
 * the one way down.
 *
 *     DOWN -> RESOLVING -> CONNECTING -> SETTING_UP -> READY -> DOWN …
 *
 * Whoever connects (pg.c, redis.c) embeds this and gives it functions.
 */
#ifndef COMMON_RECONNECT_H
#define COMMON_RECONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/backoff.h"
#include "common/failure.h"
#include "common/timer.h"

enum reconnect_state {
    RECONNECT_DOWN,
    RECONNECT_RESOLVING,
    RECONNECT_CONNECTING,
    RECONNECT_SETTING_UP,
    RECONNECT_READY,
};

struct reconnect {
    enum reconnect_state state;
    struct timers *timers;
    /* DOWN: the next try; READY: what `on_overdue` is for; else the end of the attempt. */
    struct timer timer;
    uint64_t connect_timeout_ms; /* of an attempt, once names are known */
    struct backoff backoff;
    const char *broken;    /* why it is to be given up soon; NULL: it is not */
    struct failure reason; /* why it is down; empty: it was never tried, or is ready */

    /* Begins an attempt; tells how far it has come by reconnect_move. */
    void (*start)(struct reconnect *);
    /* Closes whatever is open. The state is still what it was. */
    void (*stop)(struct reconnect *);
    /* The state has changed. */
    void (*on_state)(struct reconnect *, enum reconnect_state before);
    /* It is down, why is in `reason`; `is_news`: it was ready, or is down for another reason than
     * the time before. What was in flight fails. True to try again at once. */
    bool (*on_lost)(struct reconnect *, enum reconnect_state before, bool is_news);
    /* Names are looked up for longer than an attempt may take. */
    void (*on_slow_name)(struct reconnect *);
    /* The timer, in SETTING_UP and READY. */
    void (*on_overdue)(struct reconnect *);
    const char *too_slow; /* the reason when connecting has taken too long */
};

/* Set the functions, the time-out and the bounds of the backoff before. */
void reconnect_open(struct reconnect *reconnect, struct timers *timers);

/* Nothing is tried any more. The caller fails what is in flight. */
void reconnect_close(struct reconnect *reconnect);

/* Begins an attempt now. */
void reconnect_try(struct reconnect *reconnect);

void reconnect_move(struct reconnect *reconnect, enum reconnect_state state);

/* Makes the connection anew at once, without a word: nothing was in flight, so nothing is lost. */
void reconnect_renew(struct reconnect *reconnect);

/* An attempt has all the time again, as when another address is tried. */
void reconnect_begin_connecting(struct reconnect *reconnect);

/* Gives the connection up, and tries again after a pause. Not from within a callback of the one
 * that is in flight: then reconnect_break_off. */
void reconnect_lose(struct reconnect *reconnect, const char *reason);

/* Gives it up at the next turn of the loop. `reason` is a constant. */
void reconnect_break_off(struct reconnect *reconnect, const char *reason);

static inline bool reconnect_is_ready(const struct reconnect *reconnect)
{
    return reconnect->state == RECONNECT_READY && reconnect->broken == NULL;
}

#endif
