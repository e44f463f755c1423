/* What is in a spool, for people who ask: reads only. */
#ifndef COMMON_SPOOL_SPOOL_LIST_H
#define COMMON_SPOOL_SPOOL_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/uuid.h"

/* Those of other processes that are not known to run. */
struct spool_directories {
    uint64_t abandoned;  /* not locked; none that this process has adopted */
    uint64_t unreadable; /* they belong to somebody else, and nobody can tell */
};

struct spool_directories spool_list_count_directories(const char *base);

enum spool_entry_kind {
    SPOOL_LIVE,       /* the directory of a process that runs */
    SPOOL_ABANDONED,  /* the directory of one that does not */
    SPOOL_UNREADABLE, /* the directory of somebody else's process, which may run or not */
    SPOOL_REJECTED,   /* a file that was set aside */
    SPOOL_EXPIRED,    /* likewise */
    SPOOL_SEGMENT,    /* one that is passed over; the others only count */
};

struct spool_entry {
    struct spool_entry *prev, *next;
    enum spool_entry_kind kind;
    char *path;
    const char *name;  /* in `path`: what follows the base */
    struct uuid id;    /* of the process, or of the batch */
    uint64_t segments; /* those with rows */
    uint64_t rows;
    uint64_t bytes;
    int64_t oldest_unix_ms;     /* when the oldest segment was opened; 0: there is none */
    struct failure passed_over; /* why it cannot be what its name says; empty: it can */
};

/* Everything in the base, oldest first, as a utlist. A base that is not there is empty; what
 * vanishes meanwhile is left out. */
MUST_USE bool spool_list(const char *base, struct spool_entry **entries, struct failure *failure);
void spool_list_free(struct spool_entry *entries);

/* Whether the segment that this file was set aside from is still there, to be sent again: then the
 * file is not final. */
bool spool_list_is_waiting(const struct spool_entry *entries, const struct spool_entry *file);

#endif
