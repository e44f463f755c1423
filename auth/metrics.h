/* The text of /metrics: the counters of all workers, summed. */
#ifndef AUTH_METRICS_H
#define AUTH_METRICS_H

#include "auth/process.h"
#include "auth/token/keyring.h"
#include "common/buffer.h"

/* `keys` is the asking worker's view. */
void metrics_write(struct buffer *text, const struct process *process,
                   const struct keyring_view *keys);

#endif
