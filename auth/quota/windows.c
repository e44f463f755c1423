/* The same algorithm as limiter.lua: change both together. */
#include "auth/quota/windows.h"

#include <string.h>
#include <time.h>

static const int64_t slot_ms[WINDOWS_SLIDING] = {5000, 300000};

/* Advances the slots to now. After the clock is set back, the newest slot keeps counting; set back
 * by more than a window, counting starts over. */
static void slide(struct windows *windows, size_t w, int64_t slot)
{
    int64_t shift = slot - windows->sliding[w].slot;
    int64_t *counts = windows->sliding[w].counts;
    size_t kept;

    if (shift <= 0 && shift > -WINDOWS_SLOTS)
        return;
    kept = shift > 0 && shift < WINDOWS_SLOTS ? (size_t)(WINDOWS_SLOTS - shift) : 0;
    memmove(counts, counts + WINDOWS_SLOTS - kept, kept * sizeof(*counts));
    memset(counts + kept, 0, (WINDOWS_SLOTS - kept) * sizeof(*counts));
    windows->sliding[w].slot = slot;
}

static int64_t sum(const struct windows *windows, size_t w)
{
    int64_t total = 0;

    for (size_t i = 0; i != WINDOWS_SLOTS; ++i)
        total += windows->sliding[w].counts[i];
    return total;
}

/* When `wanted` tokens will have left the window, in Unix milliseconds. */
static int64_t time_to_free(const struct windows *windows, size_t w, int64_t wanted, int64_t now_ms)
{
    for (size_t i = 0; i != WINDOWS_SLOTS; ++i) {
        int64_t count = windows->sliding[w].counts[i];

        wanted -= count;
        if (count > 0 && wanted <= 0)
            return (windows->sliding[w].slot + (int64_t)i + 1) * slot_ms[w];
    }
    return now_ms;
}

static int64_t month_of(int64_t now_ms)
{
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;

    gmtime_r(&seconds, &utc);
    return ((int64_t)utc.tm_year + 1900) * 12 + utc.tm_mon;
}

static int64_t month_begin_ms(int64_t month)
{
    struct tm utc = {.tm_year = (int)(month / 12) - 1900,
                     .tm_mon = (int)(month % 12),
                     .tm_mday = 1};

    return (int64_t)timegm(&utc) * 1000;
}

static void bring_up_to_date(struct windows *windows, int64_t now_ms)
{
    int64_t month = month_of(now_ms);

    for (size_t w = 0; w != WINDOWS_SLIDING; ++w)
        slide(windows, w, now_ms / slot_ms[w]);
    if (windows->month < month || windows->month > month + 1) {
        windows->month = month;
        windows->month_count = 0;
    }
}

int64_t windows_take(struct windows *windows, const struct quota *quota, int64_t asked,
                     int64_t now_ms, struct quota_left *left)
{
    int64_t used[QUOTA_WINDOWS], granted = asked;

    bring_up_to_date(windows, now_ms);
    used[QUOTA_MINUTE] = sum(windows, QUOTA_MINUTE);
    used[QUOTA_HOUR] = sum(windows, QUOTA_HOUR);
    used[QUOTA_MONTH] = windows->month_count;
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        int64_t room = quota->limits[w] > used[w] ? quota->limits[w] - used[w] : 0;

        if (quota->limits[w] != 0 && room < granted)
            granted = room;
    }

    for (size_t w = 0; w != WINDOWS_SLIDING; ++w)
        windows->sliding[w].counts[WINDOWS_SLOTS - 1] += granted;
    windows->month_count += granted;
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        int64_t remaining = quota->limits[w] - used[w] - granted;

        left->remaining[w] = remaining;
        left->reset_in_ms[w] =
            (w == QUOTA_MONTH
                 ? month_begin_ms(windows->month + 1)
                 : time_to_free(windows, w, remaining > 0 ? 1 : 1 - remaining, now_ms)) -
            now_ms;
    }
    return granted;
}
