#include "auth/quota/quota.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
    const char *name, *length; /* length: the w parameter, in seconds */
} windows[QUOTA_WINDOWS] = {
    [QUOTA_MINUTE] = {"minute", ";w=60"},
    [QUOTA_HOUR] = {"hour", ";w=3600"},
    [QUOTA_MONTH] = {"month", ""},
};

const char *quota_window_name(enum quota_window window)
{
    return windows[window].name;
}

/* A used-up window binds before one that is not; of two used-up windows, the one that resets last;
 * of two others, the one with less remaining. */
static bool binds_before(const struct quota_left *left, size_t a, size_t b)
{
    bool used_up = left->remaining[a] <= 0;

    if (used_up != (left->remaining[b] <= 0))
        return used_up;
    return used_up ? left->reset_in_ms[a] > left->reset_in_ms[b]
                   : left->remaining[a] < left->remaining[b];
}

enum quota_window quota_binding(const struct quota *quota, const struct quota_left *left)
{
    enum quota_window binding = QUOTA_WINDOWS;

    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (quota->limits[w] == 0)
            continue;
        if (binding == QUOTA_WINDOWS || binds_before(left, w, binding))
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
