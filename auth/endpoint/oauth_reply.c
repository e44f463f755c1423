#include "auth/endpoint/oauth_reply.h"

#include <inttypes.h>
#include <stdio.h>

#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/reply.h"
#include "common/http/request.h"

void oauth_reply_error_with_status(h2o_req_t *req, enum oauth_error error, int status,
                                   const char *description)
{
    counter_add(&worker_of(req)->counters.oauth_errors[error], 1);
    request_wipe(req);
    reply_error(req, status, oauth_error_name(error), description);
}

void oauth_reply_error(h2o_req_t *req, enum oauth_error error, const char *description)
{
    oauth_reply_error_with_status(req, error, oauth_error_status(error), description);
}

/* Which cause it was is nobody's business. RFC 6749 5.2 requires the challenge after Basic; it does
 * no harm otherwise.
 */
void oauth_reply_invalid_client(h2o_req_t *req)
{
    REPLY_HEADER(req, "www-authenticate", "WWW-Authenticate", SLICE("Basic realm=\"jotd\""));
    oauth_reply_error(
        req, OAUTH_INVALID_CLIENT,
        "Authenticate as a client that exists and is enabled, with a secret that is valid: by "
        "HTTP Basic, or by client_id and client_secret in the body.");
}

/* A header value, from the request's pool. */
static struct slice number(h2o_req_t *req, uint64_t value)
{
    char *text = h2o_mem_alloc_pool(&req->pool, INTEGER_LENGTH_MAX);

    return (struct slice){text, integer_write((int64_t)value, text)};
}

/* For the headers of every token: printf would cost more than the rest of the work. */
static char *append(char *to, struct slice text)
{
    memcpy(to, text.bytes, text.length);
    return to + text.length;
}

static char *append_integer(char *to, int64_t number)
{
    return to + integer_write(number, to);
}

static uint64_t whole_seconds(uint64_t duration_ms)
{
    return (duration_ms + 999) / 1000;
}

static void retry_after(h2o_req_t *req, uint64_t wait_ms)
{
    REPLY_HEADER(req, "retry-after", "Retry-After", number(req, whole_seconds(wait_ms)));
}

void oauth_reply_try_later(h2o_req_t *req, const char *description)
{
    retry_after(req, 1000);
    oauth_reply_error(req, OAUTH_TEMPORARILY_UNAVAILABLE, description);
}

void oauth_reply_slow_down(h2o_req_t *req, struct throttle_refusal refusal)
{
    counter_add(&worker_of(req)->counters.auth_throttled[refusal.by], 1);
    if (refusal.by == THROTTLE_ALL) { /* this client may not be at fault */
        oauth_reply_try_later(req, "Too many ids that do not exist are asked for at the moment; "
                                   "try again later.");
        return;
    }
    retry_after(req, refusal.wait_ms);
    oauth_reply_error(
        req, OAUTH_SLOW_DOWN,
        "Too many authentications have failed; wait as long as Retry-After says, then use a "
        "secret that is valid.");
}

void oauth_reply_too_often(h2o_req_t *req)
{
    retry_after(req, 1000);
    oauth_reply_error(req, OAUTH_SLOW_DOWN,
                      "This client asks too often; wait for a second, and keep answers for a few.");
}

/* Milliseconds until more of the window's quota is available. */
static uint64_t wait_for(const struct quota_left *left, enum quota_window window)
{
    return left->reset_in_ms[window] > 0 ? (uint64_t)left->reset_in_ms[window] : 0;
}

/* draft-ietf-httpapi-ratelimit-headers, and the X- headers that predate it, for the window that
 * binds first. */
void oauth_reply_quota_headers(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left)
{
    const struct quota *quota = &client->quota;
    enum quota_window window;
    uint64_t remaining, wait_ms;
    char *state, *end;

    if (quota_is_unlimited(quota) || worker_of(req)->limiter.mode == LIMITER_OFF)
        return;
    REPLY_HEADER(req, "ratelimit-policy", "RateLimit-Policy", client->policy);
    if (left == NULL)
        return;
    window = quota_binding(quota, left);
    remaining = left->remaining[window] > 0 ? (uint64_t)left->remaining[window] : 0;
    wait_ms = wait_for(left, window);
    state = end = h2o_mem_alloc_pool(&req->pool, 80);
    end = append(end, SLICE("\""));
    end = append(end, slice_of(quota_window_name(window)));
    end = append(end, SLICE("\";r="));
    end = append_integer(end, (int64_t)remaining);
    end = append(end, SLICE(";t="));
    end = append_integer(end, (int64_t)whole_seconds(wait_ms));
    REPLY_HEADER(req, "ratelimit", "RateLimit", ((struct slice){state, (size_t)(end - state)}));
    REPLY_HEADER(req, "x-ratelimit-limit", "X-RateLimit-Limit",
                 number(req, (uint64_t)quota->limits[window]));
    REPLY_HEADER(req, "x-ratelimit-remaining", "X-RateLimit-Remaining", number(req, remaining));
    REPLY_HEADER(req, "x-ratelimit-reset", "X-RateLimit-Reset",
                 number(req, whole_seconds((uint64_t)clock_unix_ms() + wait_ms)));
}

void oauth_reply_quota_used_up(h2o_req_t *req, const struct client *client,
                               const struct quota_left *left)
{
    const struct quota *quota = &client->quota;
    enum quota_window window = quota_binding(quota, left);
    uint64_t wait_ms = wait_for(left, window);
    uint64_t seconds = wait_ms != 0 ? whole_seconds(wait_ms) : 1;
    char *description = h2o_mem_alloc_pool(&req->pool, 160);

    snprintf(description, 160,
             "The quota of %" PRId64 " tokens per %s is used up; ask again in %" PRIu64
             " second%s, and keep tokens until they expire.",
             quota->limits[window], quota_window_name(window), seconds, seconds == 1 ? "" : "s");
    retry_after(req, seconds * 1000);
    oauth_reply_error(req, OAUTH_RATE_LIMIT_EXCEEDED, description);
}
