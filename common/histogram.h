/* Durations in buckets, written by one thread and read by any (counter.h). */
#ifndef COMMON_HISTOGRAM_H
#define COMMON_HISTOGRAM_H

#include "common/counter.h"

#define HISTOGRAM_BUCKETS 14 /* 50 us to 1 s; one more for longer ones */

struct histogram {
    struct counter buckets[HISTOGRAM_BUCKETS + 1]; /* not cumulative */
    struct counter sum_us;
};

extern const uint32_t histogram_bounds_us[HISTOGRAM_BUCKETS];

/* Only for the owning thread. */
void histogram_observe(struct histogram *histogram, uint64_t duration_us);

/* Adds the counts of `from` to `into`, which the caller owns. */
void histogram_merge(struct histogram *into, const struct histogram *from);

#endif
