/* Counters and histograms that one thread writes and any thread reads, and their text form
 * (Prometheus exposition format 0.0.4).
 *
 * A writer owns its instances, so that adding is a plain load and store, never a lock; a reader
 * sums the instances of all writers when it is asked.
 */
#ifndef COMMON_PROMETHEUS_H
#define COMMON_PROMETHEUS_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/buffer.h"

struct counter {
    _Atomic uint64_t value;
};

/* Only by the thread that owns it. */
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

#define HISTOGRAM_BUCKETS 14 /* 50 us to 1 s; one more counts what is longer */

struct histogram {
    struct counter buckets[HISTOGRAM_BUCKETS + 1]; /* not cumulative */
    struct counter sum_us;
};

/* Only by the thread that owns it. */
void histogram_observe(struct histogram *histogram, uint64_t duration_us);

/* Adds what `from` holds to `into`, which the caller owns. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The HELP and TYPE lines; `type` is counter, gauge or histogram. */
void prometheus_family(struct buffer *text, const char *name, const char *type, const char *help);

/* One line. `labels` is empty or like `code="200"`; values in it are constants or escaped. */
void prometheus_value(struct buffer *text, const char *name, const char *labels, uint64_t value);
void prometheus_histogram(struct buffer *text, const char *name, const char *labels,
                          const struct histogram *histogram);

/* The process_* family, named as Prometheus client libraries name them. */
void prometheus_process(struct buffer *text);

/* Takes those of its figures that cost more than a scrape should: to be called at the start, and
 * now and then, by one thread that keeps nobody waiting. */
void prometheus_process_update(void);

#endif
