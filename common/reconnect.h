/* A connection that re-establishes itself: its states, when it is tried again, and the one way
 * down.
 *
 *     DOWN -> RESOLVING -> CONNECTING -> SETTING_UP -> READY -> DOWN …
 *
 * pg.c and redis.c embed this and provide the functions.
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
    /* DOWN: the next attempt; READY: for `on_overdue`; otherwise the deadline of the attempt. */
    struct timer timer;
    uint64_t connect_timeout_ms; /* of an attempt, once names are known */
    struct backoff backoff;
    const char *broken;    /* why it will be dropped soon; NULL: it will not */
    struct failure reason; /* why it is down; empty: ready, or never tried */

    /* Begins an attempt; reports progress with reconnect_move. */
    void (*start)(struct reconnect *);
    /* Closes everything that is open. The state has not changed yet. */
    void (*stop)(struct reconnect *);
    /* The state has changed. */
    void (*on_state)(struct reconnect *, enum reconnect_state before);
    /* The connection is down, `reason` says why. `is_news`: it was ready, or the reason has
     * changed. Fails what was in flight. Returns true to try again at once. */
    bool (*on_lost)(struct reconnect *, enum reconnect_state before, bool is_news);
    /* A name look-up is taking longer than an attempt may. */
    void (*on_slow_name)(struct reconnect *);
    /* The timer has expired in SETTING_UP or READY. */
    void (*on_overdue)(struct reconnect *);
    const char *too_slow; /* the reason when connecting takes too long */
};

/* Set the functions, the timeout and the backoff bounds first. */
void reconnect_open(struct reconnect *reconnect, struct timers *timers);

/* Stops for good. The caller fails what is in flight. */
void reconnect_close(struct reconnect *reconnect);

/* Begins an attempt now. */
void reconnect_try(struct reconnect *reconnect);

void reconnect_move(struct reconnect *reconnect, enum reconnect_state state);

/* Reconnects at once without reporting a loss: nothing was in flight, so nothing is lost. */
void reconnect_renew(struct reconnect *reconnect);

/* Restarts the timeout of an attempt, for instance for another address. */
void reconnect_begin_connecting(struct reconnect *reconnect);

/* Drops the connection and tries again after a pause. In a callback of something in flight, use
 * reconnect_break_off instead. */
void reconnect_lose(struct reconnect *reconnect, const char *reason);

/* Drops it at the next turn of the loop. `reason` is a constant. */
void reconnect_break_off(struct reconnect *reconnect, const char *reason);

static inline bool reconnect_is_ready(const struct reconnect *reconnect)
{
    return reconnect->state == RECONNECT_READY && reconnect->broken == NULL;
}

#endif
