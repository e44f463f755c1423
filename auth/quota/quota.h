/* How many tokens a client may have: the windows of its tier and what is left in them. Pure.
 *
 * The minute and hour windows slide: the limit holds for any span of that length. The month is a
 * calendar month in UTC.
 */
#ifndef AUTH_QUOTA_QUOTA_H
#define AUTH_QUOTA_QUOTA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum quota_window {
    QUOTA_MINUTE,
    QUOTA_HOUR,
    QUOTA_MONTH,
    QUOTA_WINDOWS,
};

struct quota {
    int64_t limits[QUOTA_WINDOWS]; /* tokens; 0: unlimited */
};

/* Only for limited windows. */
struct quota_left {
    int64_t remaining[QUOTA_WINDOWS]; /* tokens; negative after the limit was lowered */
    int64_t
        reset_in_ms[QUOTA_WINDOWS]; /* milliseconds from the decision until more tokens return */
};

/* "minute", "hour", "month". */
const char *quota_window_name(enum quota_window window);

static inline bool quota_is_unlimited(const struct quota *quota)
{
    return quota->limits[QUOTA_MINUTE] == 0 && quota->limits[QUOTA_HOUR] == 0 &&
           quota->limits[QUOTA_MONTH] == 0;
}

/* The limited window that binds first: the one with the least remaining, or of several used-up ones
 * the one that resets last, which is when one more token would be granted. The quota must not be
 * unlimited. */
enum quota_window quota_binding(const struct quota *quota, const struct quota_left *left);

/* Whether more than 80 % of a window is used, with `remaining` tokens left. */
bool quota_is_near_limit(int64_t limit, int64_t remaining);

#define QUOTA_POLICY_MAX 128

/* Writes the value of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers) and a NUL; empty for
 * an unlimited quota. The month has no fixed length, so no w parameter. Returns the length. */
size_t quota_policy(const struct quota *quota, char text[QUOTA_POLICY_MAX]);

#endif
