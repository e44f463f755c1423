/* One worker's counters; /metrics sums them over all workers (metrics.c). */
#ifndef AUTH_COUNTERS_H
#define AUTH_COUNTERS_H

#include "auth/client/auth_failure.h"
#include "auth/client/client_cache.h"
#include "auth/client/throttle.h"
#include "auth/introspection.h"
#include "auth/oauth_error.h"
#include "auth/quota/limiter.h"
#include "auth/token/issue.h"
#include "auth/token/verification.h"
#include "common/counter.h"
#include "common/histogram.h"

/* Values of the label `endpoint`. */
enum endpoint {
    ENDPOINT_TOKEN,
    ENDPOINT_INTROSPECT,
    ENDPOINT_REVOKE,
    ENDPOINT_REVOCATIONS,
    ENDPOINT_METADATA,
    ENDPOINT_JWKS,
    ENDPOINT_OPENAPI,
    ENDPOINT_HEALTH,
    ENDPOINT_READY,
    ENDPOINT_METRICS,
    ENDPOINT_ADMIN, /* counted apart (admin.h) */
    ENDPOINT_OTHER,
    ENDPOINT_COUNT,
};

/* Values of the label `code`; the last, 0, is any other status. */
#define COUNTERS_STATUS_CODES                                                                      \
    {                                                                                              \
        200, 201, 204, 304, 400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 417, 422, 428,  \
            429, 431, 500, 503, 0                                                                  \
    }
#define COUNTERS_STATUS_COUNT 23

struct counters {
    struct counter requests[ENDPOINT_COUNT][COUNTERS_STATUS_COUNT];
    struct histogram request_durations[ENDPOINT_COUNT];
    struct counter oauth_errors[OAUTH_ERROR_COUNT];
    struct counter auth_failures[AUTH_FAILURE_COUNT];
    struct counter auth_throttled[THROTTLE_BY_COUNT];
    struct issue_counters issue;
    struct verification_counters verification;
    struct counter introspections[INTROSPECTION_RESULT_COUNT];
    struct counter revocations; /* recorded */
    struct limiter_counters limiter;
    struct client_cache_counters cache;
    struct histogram loop_lag; /* turns of the event loop */
};

/* Counts a finished request. `duration_us` is 0 if it never reached a handler. */
static inline void counters_count_request(struct counters *counters, enum endpoint endpoint,
                                          int status, uint64_t duration_us)
{
    static const int codes[COUNTERS_STATUS_COUNT] = COUNTERS_STATUS_CODES;
    size_t i = 0;

    while (i != COUNTERS_STATUS_COUNT - 1 && codes[i] != status)
        ++i;
    counter_add(&counters->requests[endpoint][i], 1);
    if (duration_us != 0)
        histogram_observe(&counters->request_durations[endpoint], duration_us);
}

#endif
