/* What one worker counts. Each worker owns one; /metrics sums them (metrics.c). */
#ifndef AUTH_COUNTERS_H
#define AUTH_COUNTERS_H

#include "auth/client/auth_failure.h"
#include "auth/client/throttle.h"
#include "auth/quota/tier.h"
#include "auth/token/key.h"
#include "common/counter.h"
#include "common/histogram.h"

/* Paths, as the label `endpoint`. */
enum endpoint {
    ENDPOINT_TOKEN,
    ENDPOINT_METADATA,
    ENDPOINT_JWKS,
    ENDPOINT_HEALTH,
    ENDPOINT_READY,
    ENDPOINT_METRICS,
    ENDPOINT_OTHER,
    ENDPOINT_COUNT,
};

/* Statuses that are answered, as the label `code`; the last stands for any other. */
#define STATUS_CODES                                                                               \
    {                                                                                              \
        200, 204, 304, 400, 401, 404, 405, 413, 417, 429, 431, 500, 503, 0                         \
    }
#define STATUS_COUNT 14

/* Errors of /token, as the label `error`. */
enum oauth_error {
    OAUTH_INVALID_REQUEST,
    OAUTH_UNSUPPORTED_GRANT_TYPE,
    OAUTH_INVALID_CLIENT,
    OAUTH_SLOW_DOWN,
    OAUTH_INVALID_SCOPE,
    OAUTH_INVALID_TARGET,
    OAUTH_RATE_LIMIT_EXCEEDED,
    OAUTH_TEMPORARILY_UNAVAILABLE,
    OAUTH_ERROR_COUNT,
};

enum lookup_result {
    LOOKUP_FOUND,
    LOOKUP_UNKNOWN,
    LOOKUP_ERROR,
    LOOKUP_RESULT_COUNT,
};

/* What is said to a client that asks for a token, as the label `decision`. */
enum limiter_decision {
    LIMITER_GRANTED,
    LIMITER_REFUSED, /* the quota is used up */
    LIMITER_ALLOWED, /* without Redis (JOTD_LIMITER_ON_ERROR=allow) */
    LIMITER_DENIED,  /* likewise (deny) */
    LIMITER_DECISION_COUNT,
};

struct counters {
    struct counter requests[ENDPOINT_COUNT][STATUS_COUNT];
    struct histogram request_durations[ENDPOINT_COUNT];
    struct counter tokens_issued[TIER_MAX];
    struct counter oauth_errors[OAUTH_ERROR_COUNT];
    struct counter auth_failures[AUTH_FAILURE_COUNT];
    struct counter auth_throttled[THROTTLE_BY_COUNT];
    struct histogram sign_durations[KEY_ALG_COUNT];
    struct counter limiter_decisions[TIER_MAX][LIMITER_DECISION_COUNT];
    struct counter limiter_near_limit[TIER_MAX]; /* granted past 80 % of a window */
    struct counter limiter_backend_errors;
    struct counter limiter_without_redis; /* decisions, while it should be there */
    struct histogram limiter_durations;
    struct counter ledger_dropped; /* issued without a record, for want of room */
    struct counter cache_hits;
    struct counter cache_misses;
    struct counter cache_stale;
    struct counter cache_invalidations;
    struct counter cache_evictions;
    struct counter cache_expirations;
    struct counter cache_warmed;
    struct counter cache_added; /* less cache_removed: the entries now */
    struct counter cache_removed;
    struct counter rechecks; /* statements */
    struct counter lookups[LOOKUP_RESULT_COUNT];
    struct histogram lookup_durations;
    struct histogram loop_lag; /* the turns of its loop */
};

static inline size_t counters_status_index(int status)
{
    static const int codes[STATUS_COUNT] = STATUS_CODES;
    size_t i = 0;

    while (i != STATUS_COUNT - 1 && codes[i] != status)
        ++i;
    return i;
}

#endif
