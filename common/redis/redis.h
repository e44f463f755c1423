/* One Redis connection on the loop: connects, authenticates, checks that Redis does what it is
 * needed for, pipelines commands, notices a lost connection and reconnects by itself (reconnect.h).
 *
 * Nobody waits for a connection that is down, or longer than the timeout of a call: then the
 * connection is dropped, everything in flight fails, and it is tried again. The set-up is the
 * half-open state: no call is sent until Redis has answered it within the timeout of a call.
 *
 * The server may be anything: an unsolicited reply, a malformed one, or one beyond the limits below
 * drops the connection. The caller must validate what a reply says.
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
#define REDIS_ELEMENTS_MAX 4096          /* in all arrays of one reply; at most 7 deep */

/* Embedded in the caller's request. */
struct redis_call {
    struct redis_call *prev, *next;
    struct redis *redis;
    uint64_t deadline_ms;
    /* Called once. `reply` is valid during the call and may be an error; NULL when there is none,
     * with the reason in words. May send more calls. */
    void (*on_reply)(struct redis_call *, const redisReply *reply, const char *reason);
};

/* A set-up command, sent after authentication. */
struct redis_setup {
    int count; /* of its arguments; 0 ends the list */
    const char *const *arguments;
    const size_t *lengths;
};

struct redis_config {
    struct redis_url url;
    const struct redis_setup *setup; /* checks that Redis does what it is needed for */
    uint64_t connect_timeout_ms;
    uint64_t call_timeout_ms;
    void *owner; /* passed to the callback */
    /* The connection became ready, or is known not to be, with the reason; also called after the
     * first try. */
    void (*on_change)(void *owner, bool ready, const char *reason);
};

struct redis {
    const struct redis_config *config;
    h2o_loop_t *loop;
    struct timers *timers;
    struct reconnect link; /* its timer, when READY: runs while there are calls */
    bool told, told_ready; /* what on_change reported last */
    h2o_socket_t *socket;  /* NULL: no connection */
    struct buffer waiting; /* commands for the next write */
    struct buffer flying;  /* commands being written */
    redisReader *reader;
    redisReplyObjectFunctions makers;                /* of its replies, with a limit of elements */
    const redisReplyObjectFunctions *default_makers; /* hiredis's own */
    unsigned elements;                               /* of the reply being read */
    struct redis_call *calls;                        /* in flight, oldest first */
    const char *sign_on[3], *select[2];              /* set-up commands */
    unsigned setup_step;                             /* the next one to be answered */
    unsigned looks;                                  /* for a late reply, since the last one */
    uint64_t ready_ms;                               /* monotonic: when it became ready */
    struct resolve resolve;
    struct failure refused; /* the error that answered the set-up */
    size_t turn;            /* index of the host's address to try, modulo their count */
};

/* Starts connecting. `config` must outlive the connection. */
void redis_open(struct redis *redis, const struct redis_config *config, h2o_loop_t *loop,
                struct timers *timers);

/* Fails what is in flight and stops for good. Harmless when already closed. */
void redis_close(struct redis *redis);

/* What on_change reported last: a connection that is being renewed, for milliseconds, still
 * counts. */
static inline bool redis_is_there(const struct redis *redis)
{
    return redis->told_ready;
}

static inline bool redis_is_ready(const struct redis *redis)
{
    return reconnect_is_ready(&redis->link);
}

/* Queues a command for redis_flush. False when the connection is not ready, or out of memory;
 * otherwise the call belongs to it until `on_reply`. */
MUST_USE bool redis_send(struct redis *redis, struct redis_call *call, int count,
                         const char *const *arguments, const size_t *lengths);

/* Sends what was queued since the last time, in one write. */
void redis_flush(struct redis *redis);

/* For on_reply with a reply: Redis's answers are useless. Drops the connection after on_reply has
 * returned, and tries again later. `reason` is a constant. */
void redis_give_up(struct redis *redis, const char *reason);

#endif
