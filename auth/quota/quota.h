/* How many tokens a client may have: the windows of its tier, and what is left of them. Pure.
 *
 * A minute and an hour slide: any span of that length counts. A month is one of the calendar, UTC.
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

/* Of windows that are limited. */
struct quota_left {
    int64_t remaining[QUOTA_WINDOWS]; /* tokens; below 0 when the limit has been lowered */
    int64_t
        reset_in_ms[QUOTA_WINDOWS]; /* milliseconds until more comes back, when it was decided */
};

/* "minute", "hour", "month". */
const char *quota_window_name(enum quota_window window);

static inline bool quota_is_unlimited(const struct quota *quota)
{
    return quota->limits[QUOTA_MINUTE] == 0 && quota->limits[QUOTA_HOUR] == 0 &&
           quota->limits[QUOTA_MONTH] == 0;
}

/* The limited window that binds first: with the least remaining; of those that are used up, the one
 * that comes back last, which is when one more token would be granted. The quota must not be
 * unlimited. */
enum quota_window quota_binding(const struct quota *quota, const struct quota_left *left);

/* Whether more than 80 % of a window is used when `remaining` is what it has left. */
bool quota_is_near_limit(int64_t limit, int64_t remaining);

#define QUOTA_POLICY_MAX 128

/* Writes the value of RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers), empty when it is
 * unlimited, and a NUL. A month has no fixed length, so it goes without. Returns the length. */
size_t quota_policy(const struct quota *quota, char text[QUOTA_POLICY_MAX]);

#endif
