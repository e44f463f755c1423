/* The windows of one client in memory, as limiter.lua keeps them in Redis: where there is none, or
 * it is away. Pure.
 *
 * The minute and the hour slide over slots of a twelfth of their length. Every slot that overlaps
 * the window counts in full, so that no span of that length ever holds more than the limit; the
 * price is that quota comes back a slot late. The month is one of the calendar, UTC.
 */
#ifndef AUTH_QUOTA_WINDOWS_H
#define AUTH_QUOTA_WINDOWS_H

#include <stdint.h>

#include "auth/quota/quota.h"

#define WINDOWS_SLIDING 2  /* the minute and the hour */
#define WINDOWS_SLOTS   13 /* those that can overlap a window of 12 */

/* Zero it to start. */
struct windows {
    struct {
        int64_t slot;                  /* the number of the newest one */
        int64_t counts[WINDOWS_SLOTS]; /* tokens, oldest first */
    } sliding[WINDOWS_SLIDING];
    int64_t month; /* year * 12 + month - 1 */
    int64_t month_count;
};

/* Grants as many of the tokens asked for as all the windows have room for, and counts them in all
 * of these. `now_ms` in Unix milliseconds. */
int64_t windows_take(struct windows *windows, const struct quota *quota, int64_t asked,
                     int64_t now_ms, struct quota_left *left);

#endif
