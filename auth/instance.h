/* The row by which a running server is known to others: one in `instances`, written every 10
 * seconds over the connection of the feed, and a last time at an orderly stop.
 */
#ifndef AUTH_INSTANCE_H
#define AUTH_INSTANCE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/pg/pg_blocking.h"
#include "common/uuid.h"

#define INSTANCE_HOST_SIZE 256
#define INSTANCE_KEYS_SIZE 65

/* What changes while it runs. */
struct instance_state {
    uint64_t pending_rows;         /* of the ledger, not in PostgreSQL yet */
    int64_t oldest_pending_ms;     /* Unix milliseconds; 0: there are none */
    char keys[INSTANCE_KEYS_SIZE]; /* digest of the names of its signing keys */
};

struct instance {
    void (*read)(void *context, struct instance_state *state);
    void *context;
    char id[UUID_TEXT_LENGTH + 1];
    char host[INSTANCE_HOST_SIZE];
    int64_t started_ms;  /* Unix milliseconds */
    uint64_t due_ms;     /* monotonic: when to write next */
    struct failure last; /* logged when it changes */
};

/* `read` is called on the thread that writes. False when the system has no randomness. */
MUST_USE bool instance_open(struct instance *instance,
                            void (*read)(void *context, struct instance_state *state),
                            void *context);

/* Writes the row, now or if it is due; waits for no lock for long, nor for a disk. A failure is
 * logged and does no harm, but may have lost the connection. */
void instance_note(struct instance *instance, struct pg_blocking *pg);
void instance_note_if_due(struct instance *instance, struct pg_blocking *pg);

#endif
