/* Renders /metrics: the counters of all workers, summed. */
#ifndef AUTH_METRICS_H
#define AUTH_METRICS_H

#include "auth/process.h"
#include "auth/token/keyring.h"
#include "common/buffer.h"

/* Appends to `text`. `keys` is the view of the worker that serves the request. */
void metrics_write(struct buffer *text, const struct process *process,
                   const struct keyring_view *keys);

#endif
