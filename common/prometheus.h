/* Metrics in the text format of Prometheus (exposition format 0.0.4). */
#ifndef COMMON_PROMETHEUS_H
#define COMMON_PROMETHEUS_H

#include <stdint.h>

#include "common/buffer.h"
#include "common/histogram.h"

/* The HELP and TYPE lines; `type` is counter, gauge or histogram. */
void prometheus_family(struct buffer *text, const char *name, const char *type, const char *help);

/* One line. `labels` is empty or like `code="200"`; its values are constants or escaped. */
void prometheus_value(struct buffer *text, const char *name, const char *labels, uint64_t value);
void prometheus_histogram(struct buffer *text, const char *name, const char *labels,
                          const struct histogram *histogram);

/* The process_* family, named as Prometheus client libraries name them. */
void prometheus_process(struct buffer *text);

/* Measures what would make a scrape too slow: call it at the start and now and then, from one
 * thread that holds nobody up. */
void prometheus_process_update(void);

#endif
