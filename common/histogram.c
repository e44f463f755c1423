#include "common/histogram.h"

#include <stddef.h>

const uint32_t histogram_bounds_us[HISTOGRAM_BUCKETS] = {50,     100,    250,    500,    1000,
                                                         2500,   5000,   10000,  25000,  50000,
                                                         100000, 250000, 500000, 1000000};

void histogram_observe(struct histogram *histogram, uint64_t duration_us)
{
    size_t bucket = 0;

    while (bucket != HISTOGRAM_BUCKETS && duration_us > histogram_bounds_us[bucket])
        ++bucket;
    counter_add(&histogram->buckets[bucket], 1);
    counter_add(&histogram->sum_us, duration_us);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (size_t i = 0; i <= HISTOGRAM_BUCKETS; ++i)
        counter_add(&into->buckets[i], counter_read(&from->buckets[i]));
    counter_add(&into->sum_us, counter_read(&from->sum_us));
}
