/* Lists what is in a spool, for people; read-only. */
#ifndef COMMON_SPOOL_SPOOL_LIST_H
#define COMMON_SPOOL_SPOOL_LIST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/uuid.h"

/* Directories of other processes that are not known to be running. */
struct spool_directories {
    uint64_t abandoned;  /* not locked; without those that this process has adopted */
    uint64_t unreadable; /* of another user, so nobody can tell */
};

struct spool_directories spool_list_count_directories(const char *base);

enum spool_entry_kind {
    SPOOL_LIVE,       /* the directory of a running process */
    SPOOL_ABANDONED,  /* the directory of a process that has ended */
    SPOOL_UNREADABLE, /* the directory of another user's process, running or not */
    SPOOL_REJECTED,   /* a file set aside: refused by the database */
    SPOOL_EXPIRED,    /* a file set aside: too old to tell whether it was sent */
    SPOOL_SEGMENT,    /* a segment that is passed over or newer; others are only counted */
};

struct spool_entry {
    struct spool_entry *prev, *next;
    enum spool_entry_kind kind;
    char *path;
    const char *name;  /* the part of `path` after the base */
    struct uuid id;    /* of the process or the batch */
    unsigned format;   /* of a file */
    bool newer;        /* a file, or of a process some, of a format newer than known: not counted */
    uint64_t segments; /* those with rows */
    uint64_t rows;
    uint64_t bytes;
    int64_t oldest_unix_ms;     /* when the oldest segment was opened; 0: none */
    struct failure passed_over; /* why it is not what its name says; empty: it is */
};

/* Lists everything in the base, oldest first, as a utlist. `newest` is the newest format known. A
 * missing base counts as empty; what vanishes meanwhile is left out. */
MUST_USE bool spool_list(const char *base, unsigned newest, struct spool_entry **entries,
                         struct failure *failure);
void spool_list_free(struct spool_entry *entries);

/* Whether the segment from which this file was set aside still exists, and will be sent again: then
 * the file is not final. */
bool spool_list_is_waiting(const struct spool_entry *entries, const struct spool_entry *file);

#endif
