/* One Redis connection on the loop: connects, signs on, tries what it is needed for, takes commands
 * in a pipeline, notices its loss and comes back by itself (reconnect.h).
 *
 * Nobody waits for a connection that is down, and nobody waits longer than the time-out of a call:
 * then the connection is given up, all that is in flight fails, and it is tried again. Half-open is
 * the set-up: until Redis has answered it in the time of a call, nothing is sent.
 *
 * What answers need not be a Redis in its right mind: a reply that nobody has asked for, one that
 * is none, or one beyond the bounds below loses the connection. What a reply says is for the caller
 * to doubt.
 */
#ifndef COMMON_REDIS_REDIS_H
#define COMMON_REDIS_REDIS_H

#include <h2o.h>
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/failure.h"
#include "common/reconnect.h"
#include "common/redis/redis_url.h"
#include "common/resolve.h"
#include "common/timer.h"

#define REDIS_REPLY_MAX    (1024 * 1024) /* bytes of one reply */
#define REDIS_ELEMENTS_MAX 4096          /* of the arrays of one reply together; 7 deep at most */

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
    struct reconnect link; /* its timer, when READY: runs while there are calls */
    bool told, told_ready; /* what on_change has said last */
    h2o_socket_t *socket;  /* NULL: no connection */
    struct buffer waiting; /* commands for the next write */
    struct buffer flying;  /* those that are being written */
    redisReader *reader;
    redisReplyObjectFunctions makers;                /* of its replies, with a bound of elements */
    const redisReplyObjectFunctions *default_makers; /* hiredis's own */
    unsigned elements;                               /* of the reply that is being read */
    struct redis_call *calls;                        /* in flight, oldest first */
    const char *sign_on[3], *select[2];              /* commands of the set-up */
    unsigned setup_step;                             /* the one that is to be answered next */
    unsigned looks;    /* for a reply that is late, since the last one */
    uint64_t ready_ms; /* monotonic: when it became so */
    struct resolve resolve;
    struct failure refused; /* what the set-up was answered with */
    size_t turn;            /* which of the host's addresses is tried, counted on */
};

/* Begins to connect. `config` must outlive the connection. */
void redis_open(struct redis *redis, const struct redis_config *config, h2o_loop_t *loop,
                struct timers *timers);

/* What is in flight fails, nothing is tried again. Harmless when it is closed already. */
void redis_close(struct redis *redis);

/* What on_change has said last: a connection that is being renewed, for milliseconds, is there. */
static inline bool redis_is_there(const struct redis *redis)
{
    return redis->told_ready;
}

static inline bool redis_is_ready(const struct redis *redis)
{
    return reconnect_is_ready(&redis->link);
}

/* Adds a command to what redis_flush sends. False when the connection is not ready; else the call
 * belongs to it until `on_reply`. */
MUST_USE bool redis_send(struct redis *redis, struct redis_call *call, int count,
                         const char *const *arguments, const size_t *lengths);

/* Sends what was added since the last time, in one write. */
void redis_flush(struct redis *redis);

/* For on_reply with a reply: Redis's answers are of no use. Gives the connection up when on_reply
 * has returned, and tries again later. `reason` is a constant. */
void redis_give_up(struct redis *redis, const char *reason);

#endif
