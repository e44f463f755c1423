/* What the ledger has not sent to PostgreSQL yet, over all workers. */
#ifndef AUTH_PENDING_H
#define AUTH_PENDING_H

#include <stdint.h>

#include "auth/process.h"

struct pending {
    uint64_t rows;
    int64_t oldest_unix_ms; /* of the oldest of them; 0: there are none */
};

/* From any thread, while there are workers. */
struct pending pending_read(const struct process *process);

#endif
