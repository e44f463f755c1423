/* A segment of the spool as a file: read, synced, set aside. */
#ifndef COMMON_SPOOL_SPOOL_SEGMENT_H
#define COMMON_SPOOL_SPOOL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/failure.h"
#include "common/slice.h"
#include "common/uuid.h"

#define SPOOL_SEGMENT_FILE_MAX (32 * 1024 * 1024) /* bytes of any file in the spool */

enum spool_trigger {
    SPOOL_ROWS,
    SPOOL_INTERVAL,
    SPOOL_SHUTDOWN,
    SPOOL_RECOVERY, /* an earlier process left it */
    SPOOL_TRIGGER_COUNT,
};

/* A closed segment; belongs to whoever took it. */
struct spool_segment {
    struct spool_segment *prev, *next;
    struct uuid id; /* of the batch; the time inside is when it was opened */
    int directory;  /* where its file is: that of the process, or what was adopted */
    char name[UUID_TEXT_LENGTH + 1]; /* of its file */
    char *path;                      /* for people */
    uint64_t rows;
    uint64_t bytes;
    uint64_t batch; /* number of the process's batch; of no meaning after a recovery */
    enum spool_trigger trigger;
    bool synced;    /* to disk */
    bool has_spare; /* more of the disk is reserved for it than it needs */
};

/* Appends a whole segment to `bytes`. One that cannot be read is to be synced again, which tells
 * whether it is lost. */
MUST_USE bool spool_segment_read(struct spool_segment *segment, struct buffer *bytes,
                                 struct failure *failure);

enum spool_synced {
    SPOOL_SYNCED,
    SPOOL_NOT_NOW, /* the system is short of something */
    SPOOL_LOST,    /* the file is gone or no segment any more, or the disk does not give it */
};

/* Syncs what is in the file to disk, once, and gives back what was reserved and not used: freeing
 * blocks waits for the file system's journal, so it is no work for the loop.
 * spool_segment_sync_names must follow, once for all that are in one directory. */
MUST_USE enum spool_synced spool_segment_sync(struct spool_segment *segment,
                                              struct failure *failure);

/* Syncs the directory of this segment and those beside it. */
MUST_USE bool spool_segment_sync_names(const struct spool_segment *segment);

/* Writes and syncs <base>/<id>.<suffix>, in place of one that is there; without lines there is none
 * after it. */
MUST_USE bool spool_segment_set_aside(const char *base, const struct uuid *id, const char *suffix,
                                      struct slice lines, struct failure *failure);

/* Frees one, or a utlist of them, without touching their files. */
void spool_segment_free(struct spool_segment *segment);
void spool_segment_free_all(struct spool_segment *segments);

/* It is sent: removes the file and frees the segment. */
void spool_segment_discard(struct spool_segment *segment);

#endif
