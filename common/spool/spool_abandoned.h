/* Takes over what other processes left in the spool. */
#ifndef COMMON_SPOOL_SPOOL_ABANDONED_H
#define COMMON_SPOOL_SPOOL_ABANDONED_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/spool/spool.h"
#include "common/spool/spool_list.h"
#include "common/spool/spool_passed_over.h"
#include "common/spool/spool_segment.h"

struct spool_abandoned {
    char *directory; /* NULL: none */
    int lock;
    struct spool_segment *segments; /* repaired, oldest first */
};

/* Locks this directory of the base and lists it, but no segment of a format newer than `newest`;
 * false when it is not abandoned, or gone. */
MUST_USE bool spool_abandoned_adopt_named(const char *base, const char *name, unsigned newest,
                                          struct spool_passed_over *passed_over,
                                          struct spool_abandoned *abandoned);

/* The same for the first abandoned directory whose name sorts after `after` (which may be empty),
 * so that one that cannot be removed does not hide the others. */
MUST_USE bool spool_abandoned_adopt(const char *base, const char *after, unsigned newest,
                                    struct spool_passed_over *passed_over,
                                    struct spool_abandoned *abandoned);

/* Removes the directory if it is empty, and releases the lock. */
void spool_abandoned_release(struct spool_abandoned *abandoned);

/* Moves a file that was set aside, of a format that the spool knows, into the process's directory
 * as a segment of a new batch, like any other that the process left. Adds it to the list if it has
 * rows. */
MUST_USE bool spool_abandoned_bring_back(struct spool *spool, const struct spool_entry *entry,
                                         struct spool_passed_over *passed_over,
                                         struct spool_segment **segments, struct failure *failure);

#endif
