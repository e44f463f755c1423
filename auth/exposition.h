/* The text of /metrics: the counters of all workers, summed. */
#ifndef AUTH_EXPOSITION_H
#define AUTH_EXPOSITION_H

#include "auth/keyring.h"
#include "auth/process.h"
#include "common/buffer.h"

/* `keys` is the asking worker's view. */
void exposition_write(struct buffer *text, const struct process *process,
                      const struct keyring_view *keys);

#endif
