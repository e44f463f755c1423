/* Holds every client to the quota of its tier: over all workers and replicas in Redis, by one
 * script (limits.lua); in a table of the process where there is no Redis, or it is away.
 *
 * What is asked for in a pass goes to Redis at its end, for all clients in one call; several tokens
 * for one client are asked for together, and granted in order of arrival. A refusal is remembered
 * until the instant at which one more token would be granted, so that a flood of refused requests
 * costs no call. Nobody waits for a Redis that is away, nor longer than the time-out for one that
 * is slow: then JOTD_LIMITER_ON_ERROR decides.
 */
#ifndef AUTH_QUOTA_LIMITER_H
#define AUTH_QUOTA_LIMITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "auth/client/client.h"
#include "auth/counters.h"
#include "auth/quota/limiter_script.h"
#include "auth/settings.h"
#include "common/attributes.h"
#include "common/redis/redis.h"

#define LIMITS_PROBES    16    /* calls by which a new connection shows that it is of use */
#define LIMITS_LOCAL_MAX 50000 /* clients in the table of the process, some 400 bytes each */

/* What the workers share. */
struct limits_shared {
    int64_t boot_unix_ms;  /* when the machine was booted, as it seemed at the start */
    pthread_mutex_t mutex; /* of what follows */
    struct lru local;
    _Atomic unsigned fallen_back; /* workers that are without their Redis */
    _Atomic unsigned settled;     /* workers that know whether they have it */
};

/* Embedded in what waits. */
struct limits_waiter {
    struct limits_waiter *prev, *next;
    struct limits_ask *ask; /* NULL: not waiting */
    bool asks;              /* for a token; else only for what is left */
    /* `left` is NULL where nothing is known of it: an unlimited tier, a limiter that is off or
     * without Redis. Its times are monotonic. Called once, at once or later. */
    void (*on_decision)(struct limits_waiter *, enum limits_decision decision,
                        const struct quota_left *left);
};

struct limits {
    enum limiter mode;
    enum limiter_on_error on_error;
    struct limits_shared *shared;
    struct counters *counters;
    struct limits_ask *asks;  /* of this pass */
    size_t keys_per_call;     /* at most */
    bool fallen_back;         /* counted in `shared` */
    bool settled;             /* likewise */
    uint64_t error_logged_ms; /* monotonic */
    struct limits_script_call probes[LIMITS_PROBES];
    struct redis_setup setup[LIMITS_PROBES + 1];
    struct redis_config config;
    struct redis redis;
};

void limits_shared_open(struct limits_shared *shared);
void limits_shared_close(struct limits_shared *shared);

/* Begins to connect, where JOTD_LIMITER=redis. */
void limits_open(struct limits *limits, const struct settings *settings,
                 struct limits_shared *shared, h2o_loop_t *loop, struct timers *timers,
                 struct counters *counters);

/* Who waits is answered as without Redis. */
void limits_close(struct limits *limits);

/* While a refusal of this client lasts, calls `on_decision` with it and returns true. */
MUST_USE bool limits_refuse_again(struct limits *limits, struct client *client,
                                  struct limits_waiter *waiter);

/* After limits_refuse_again did not: asks for a token of the client (`waiter->asks`), or for what
 * is left. */
void limits_take(struct limits *limits, struct client *client, struct limits_waiter *waiter);

/* The waiter is not called any more; harmless when it was. */
void limits_stop_waiting(struct limits_waiter *waiter);

/* Sends what was asked for in this pass. */
void limits_end_pass(struct limits *limits);

#endif
