/* Holds every client to the quota of its tier: across all workers and replicas in Redis, with one
 * script (limiter.lua); or in a table of the process when Redis is down or not used.
 *
 * The requests of a pass go to Redis at its end, up to LIMITER_SCRIPT_MAX clients per call. Tokens
 * for one client are requested together and granted in order of arrival. A refusal is remembered
 * until one more token would be granted, so a flood of refused requests costs no calls. Nothing
 * waits for a Redis that is down, or beyond the timeout for a slow one: then `on_error` decides.
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

#define LIMITER_PROBES    16    /* calls that test a new connection */
#define LIMITER_LOCAL_MAX 50000 /* clients in the process's table, about 400 bytes each */

/* The decision on a request for a token. */
enum limiter_decision {
    LIMITER_GRANTED,
    LIMITER_REFUSED, /* quota used up */
    LIMITER_ALLOWED, /* no Redis, LIMITER_ON_ERROR_ALLOW */
    LIMITER_DENIED,  /* no Redis, LIMITER_ON_ERROR_DENY */
    LIMITER_DECISION_COUNT,
};

struct limiter_counters {
    struct counter decisions[TIER_MAX][LIMITER_DECISION_COUNT];
    struct counter near_limit[TIER_MAX]; /* grants beyond 80 % of a window */
    struct counter backend_errors;
    struct counter without_redis; /* decisions while Redis was configured but down */
    struct histogram durations;   /* from call to reply */
};

struct limiter_config {
    enum limiter_mode mode;
    enum limiter_on_error on_error;
    const char *redis_url;
    uint64_t timeout_ms; /* of a call */
};

/* Shared by the workers. */
struct limiter_shared {
    int64_t boot_unix_ms;  /* boot time by the wall clock at start */
    pthread_mutex_t mutex; /* guards `local` */
    struct lru local;
    _Atomic unsigned fallen_back; /* workers without Redis */
    _Atomic unsigned settled;     /* workers that know whether they have Redis */
};

/* Embedded in the waiting object. */
struct limiter_waiter {
    struct limiter_waiter *prev, *next;
    struct limiter_ask *ask; /* NULL: not waiting */
    bool asks;               /* for a token; false: only for what is left */
    /* Called once, immediately or later. `left` is NULL when unknown: unlimited tier, limiter off,
     * or LIMITER_ALLOWED and LIMITER_DENIED. */
    void (*on_decision)(struct limiter_waiter *, enum limiter_decision decision,
                        const struct quota_left *left);
};

struct limiter {
    enum limiter_mode mode;
    enum limiter_on_error on_error;
    struct limiter_shared *shared;
    struct limiter_counters *counters;
    struct limiter_ask *asks; /* of this pass */
    size_t keys_per_call;     /* maximum */
    bool fallen_back;         /* counted in `shared` */
    bool settled;             /* counted in `shared` */
    uint64_t error_logged_ms; /* monotonic; last error logged */
    struct limiter_script_call probes[LIMITER_PROBES];
    struct redis_setup setup[LIMITER_PROBES + 1];
    struct redis_config redis_config;
    struct redis redis;
};

void limiter_shared_open(struct limiter_shared *shared);
void limiter_shared_close(struct limiter_shared *shared);

/* In mode LIMITER_REDIS, starts to connect. */
void limiter_open(struct limiter *limiter, const struct limiter_config *config,
                  struct limiter_shared *shared, h2o_loop_t *loop, struct timers *timers,
                  struct limiter_counters *counters);

/* Calls in flight are decided without Redis. */
void limiter_close(struct limiter *limiter);

/* While a remembered refusal lasts, calls `on_decision` with it and returns true. */
MUST_USE bool limiter_refuse_again(struct limiter *limiter, struct client *client,
                                   struct limiter_waiter *waiter);

/* After limiter_refuse_again returned false: requests a token for the client (`waiter->asks`), or
 * only what is left. */
void limiter_take(struct limiter *limiter, struct client *client, struct limiter_waiter *waiter);

/* Cancels the wait; a no-op once the waiter has been called. */
void limiter_stop_waiting(struct limiter_waiter *waiter);

/* Sends the requests of this pass. */
void limiter_end_pass(struct limiter *limiter);

#endif
