/* Quotas: see quota.h. */
#include "auth/quota.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name, *length; /* of the window: the parameter w, in seconds */
} windows[QUOTA_WINDOWS] = {
    [QUOTA_MINUTE] = {"minute", ";w=60"},
    [QUOTA_HOUR] = {"hour", ";w=3600"},
    [QUOTA_MONTH] = {"month", ""},
};

const char *quota_window_name(enum quota_window window)
{
    return windows[window].name;
}

enum quota_window quota_binding(const struct quota *quota, const struct quota_left *left)
{
    enum quota_window binding = QUOTA_WINDOWS;

    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (quota->limits[w] == 0)
            continue;
        if (binding == QUOTA_WINDOWS || left->remaining[w] < left->remaining[binding] ||
            (left->remaining[w] <= 0 && left->remaining[binding] <= 0 &&
             left->reset_ms[w] > left->reset_ms[binding]))
            binding = (enum quota_window)w;
    }
    return binding;
}

bool quota_is_near_limit(int64_t limit, int64_t remaining)
{
    return remaining * 5 < limit;
}

size_t quota_policy(const struct quota *quota, char text[QUOTA_POLICY_MAX])
{
    size_t size = 0;

    text[0] = '\0';
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (quota->limits[w] != 0)
            size += (size_t)snprintf(text + size, QUOTA_POLICY_MAX - size,
                                     "%s\"%s\";q=%" PRId64 "%s", size != 0 ? ", " : "",
                                     windows[w].name, quota->limits[w], windows[w].length);
    }
    return size;
}
