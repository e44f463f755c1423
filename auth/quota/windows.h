/* The windows of one client in memory, as limiter.lua keeps them in Redis; for use without Redis.
 * Pure.
 *
 * The minute and the hour slide in slots of a twelfth of their length. Every slot that overlaps the
 * window counts in full, so no span of that length ever exceeds the limit; in exchange, quota
 * returns up to one slot late. The month is a calendar month in UTC.
 */
#ifndef AUTH_QUOTA_WINDOWS_H
#define AUTH_QUOTA_WINDOWS_H

#include <stdint.h>

#include "auth/quota/quota.h"

#define WINDOWS_SLIDING 2  /* the minute and the hour */
#define WINDOWS_SLOTS   13 /* a window of 12 overlaps up to 13 */

/* Initialize to zero. */
struct windows {
    struct {
        int64_t slot;                  /* number of the newest slot */
        int64_t counts[WINDOWS_SLOTS]; /* tokens, oldest first */
    } sliding[WINDOWS_SLIDING];
    int64_t month; /* year * 12 + month - 1 */
    int64_t month_count;
};

/* Grants up to `asked` tokens, as many as all limited windows have room for, and counts them in
 * every window. Returns how many. `now_ms` is in Unix milliseconds. */
int64_t windows_take(struct windows *windows, const struct quota *quota, int64_t asked,
                     int64_t now_ms, struct quota_left *left);

#endif
