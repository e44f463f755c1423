/* Holds every client to the quota of its tier: over all workers and replicas in Redis, by one
 * script (limiter.lua); in a table of the process where there is no Redis, or it is away.
 *
 * What is asked for in a pass goes to Redis at its end, for all clients in one call; several tokens
 * for one client are asked for together, and granted in order of arrival. A refusal is remembered
 * until the instant at which one more token would be granted, so that a flood of refused requests
 * costs no call. Nobody waits for a Redis that is away, nor longer than the time-out for one that
 * is slow: then `on_error` decides.
 */
#ifndef AUTH_QUOTA_LIMITER_H
#define AUTH_QUOTA_LIMITER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "auth/client/client.h"
#include "auth/quota/limiter_mode.h"
#include "auth/quota/limiter_script.h"
#include "auth/quota/tier.h"
#include "common/attributes.h"
#include "common/counter.h"
#include "common/histogram.h"
#include "common/redis/redis.h"

#define LIMITER_PROBES    16    /* calls by which a new connection shows that it is of use */
#define LIMITER_LOCAL_MAX 50000 /* clients in the table of the process, some 400 bytes each */

/* What is said to a client that asks for a token. */
enum limiter_decision {
    LIMITER_GRANTED,
    LIMITER_REFUSED, /* the quota is used up */
    LIMITER_ALLOWED, /* without Redis (LIMITER_ON_ERROR_ALLOW) */
    LIMITER_DENIED,  /* likewise (LIMITER_ON_ERROR_DENY) */
    LIMITER_DECISION_COUNT,
};

struct limiter_counters {
    struct counter decisions[TIER_MAX][LIMITER_DECISION_COUNT];
    struct counter near_limit[TIER_MAX]; /* granted past 80 % of a window */
    struct counter backend_errors;
    struct counter without_redis; /* decisions, while it should be there */
    struct histogram durations;   /* from asking Redis to its answer */
};

struct limiter_config {
    enum limiter_mode mode;
    enum limiter_on_error on_error;
    const char *redis_url;
    uint64_t timeout_ms; /* of a call */
};

/* What the workers share. */
struct limiter_shared {
    int64_t boot_unix_ms;  /* when the machine was booted, as it seemed at the start */
    pthread_mutex_t mutex; /* of what follows */
    struct lru local;
    _Atomic unsigned fallen_back; /* workers that are without their Redis */
    _Atomic unsigned settled;     /* workers that know whether they have it */
};

/* Embedded in what waits. */
struct limiter_waiter {
    struct limiter_waiter *prev, *next;
    struct limiter_ask *ask; /* NULL: not waiting */
    bool asks;               /* for a token; else only for what is left */
    /* `left` is NULL where nothing is known of it: an unlimited tier, a limiter that is off or
     * without Redis. Called once, at once or later. */
    void (*on_decision)(struct limiter_waiter *, enum limiter_decision decision,
                        const struct quota_left *left);
};

struct limiter {
    enum limiter_mode mode;
    enum limiter_on_error on_error;
    struct limiter_shared *shared;
    struct limiter_counters *counters;
    struct limiter_ask *asks; /* of this pass */
    size_t keys_per_call;     /* at most */
    bool fallen_back;         /* counted in `shared` */
    bool settled;             /* likewise */
    uint64_t error_logged_ms; /* monotonic */
    struct limiter_script_call probes[LIMITER_PROBES];
    struct redis_setup setup[LIMITER_PROBES + 1];
    struct redis_config redis_config;
    struct redis redis;
};

void limiter_shared_open(struct limiter_shared *shared);
void limiter_shared_close(struct limiter_shared *shared);

/* Begins to connect, in the mode LIMITER_REDIS. */
void limiter_open(struct limiter *limiter, const struct limiter_config *config,
                  struct limiter_shared *shared, h2o_loop_t *loop, struct timers *timers,
                  struct limiter_counters *counters);

/* Who waits is answered as without Redis. */
void limiter_close(struct limiter *limiter);

/* While a refusal of this client lasts, calls `on_decision` with it and returns true. */
MUST_USE bool limiter_refuse_again(struct limiter *limiter, struct client *client,
                                   struct limiter_waiter *waiter);

/* After limiter_refuse_again did not: asks for a token of the client (`waiter->asks`), or for what
 * is left. */
void limiter_take(struct limiter *limiter, struct client *client, struct limiter_waiter *waiter);

/* The waiter is not called any more; harmless when it was. */
void limiter_stop_waiting(struct limiter_waiter *waiter);

/* Sends what was asked for in this pass. */
void limiter_end_pass(struct limiter *limiter);

#endif
