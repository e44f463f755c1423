/* A count that one thread writes and any thread reads.
 *
 * Each writer owns its instances, so adding is a plain load and store, never a lock; a reader sums
 * the instances of all writers.
 */
#ifndef COMMON_COUNTER_H
#define COMMON_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

struct counter {
    _Atomic uint64_t value;
};

/* Only for the owning thread. */
static inline void counter_add(struct counter *counter, uint64_t amount)
{
    atomic_store_explicit(&counter->value,
                          atomic_load_explicit(&counter->value, memory_order_relaxed) + amount,
                          memory_order_relaxed);
}

static inline uint64_t counter_read(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

#endif
