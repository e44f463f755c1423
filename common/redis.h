/* One Redis connection on the loop: connects, signs on, tries what it is needed for, takes commands
 * in a pipeline, notices its loss and comes back by itself with backoff and jitter.
 *
 *     DOWN -> RESOLVING -> CONNECTING -> SETTING_UP -> READY -> DOWN …
 *
 * Nobody waits for a connection that is down, and nobody waits longer than the time-out of a call:
 * then the connection is given up, all that is in flight fails, and it is tried again. Half-open is
 * the set-up: until Redis has answered it in the time of a call, nothing is sent.
 */
#ifndef COMMON_REDIS_H
#define COMMON_REDIS_H

#include <hiredis/async.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/redis_url.h"
#include "common/resolve.h"
#include "common/timer.h"
#include "common/watch.h"

enum redis_state {
    REDIS_DOWN,
    REDIS_RESOLVING,
    REDIS_CONNECTING,
    REDIS_SETTING_UP,
    REDIS_READY,
};

/* Embedded in what asks. */
struct redis_call {
    struct redis_call *prev, *next;
    struct redis *redis;
    uint64_t deadline_ms;
    /* Called once. `reply` is valid during the call, may be an error's, and is NULL when there is
     * none, with the reason in words. May send more calls. */
    void (*on_reply)(struct redis_call *, const redisReply *reply, const char *reason);
};

/* A command of the set-up, after sign-on. */
struct redis_setup {
    int count; /* of its arguments; 0 ends the list */
    const char *const *arguments;
    const size_t *lengths;
};

struct redis_config {
    struct redis_url url;
    const struct redis_setup *setup; /* shows that Redis will do what it is needed for */
    uint64_t connect_timeout_ms;
    uint64_t call_timeout_ms;
    void *owner; /* for the call below */
    /* It has become ready, or is known not to be, with the reason; also after the first try. */
    void (*on_change)(void *owner, bool ready, const char *reason);
};

struct redis {
    const struct redis_config *config;
    h2o_loop_t *loop;
    struct timers *timers;
    enum redis_state state;
    bool told, told_ready; /* what on_change has said last */
    redisAsyncContext *context;
    struct watch watch;
    bool wants_write;
    struct timer timer; /* DOWN: next try; READY: runs while there are calls; else the connect's */
    struct redis_call *calls; /* in flight, oldest first */
    uint64_t replies;         /* that have come, of all connections */
    unsigned setup_left;      /* replies of the set-up that are to come */
    const char *broken;       /* why the connection is to be given up, or NULL */
    struct failure reason;    /* why it was */
    uint64_t backoff_ms;
    struct resolve resolve;
    size_t turn; /* which of the host's addresses is tried, counted on */
};

/* Begins to connect. `config` must outlive the connection. */
void redis_open(struct redis *redis, const struct redis_config *config, h2o_loop_t *loop,
                struct timers *timers);

/* What is in flight fails, nothing is tried again. Harmless when it is closed already. */
void redis_close(struct redis *redis);

static inline bool redis_is_ready(const struct redis *redis)
{
    return redis->state == REDIS_READY && redis->broken == NULL;
}

/* Adds a command to what redis_flush sends. False when the connection is not ready; else the call
 * belongs to it until `on_reply`. */
MUST_USE bool redis_send(struct redis *redis, struct redis_call *call, int count,
                         const char *const *arguments, const size_t *lengths);

/* Sends what was added since the last time, in one write. */
void redis_flush(struct redis *redis);

/* Its answers are of no use: gives it up at the next turn of the loop, and tries again later.
 * `reason` is a constant. */
void redis_give_up(struct redis *redis, const char *reason);

#endif
