/* A segment of the spool as a file: read, synced, set aside. */
#ifndef COMMON_SPOOL_SPOOL_SEGMENT_H
#define COMMON_SPOOL_SPOOL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/failure.h"
#include "common/slice.h"
#include "common/spool/spool_name.h"
#include "common/uuid.h"

#define SPOOL_SEGMENT_FILE_MAX (32 * 1024 * 1024) /* bytes of any file in the spool */

enum spool_trigger {
    SPOOL_ROWS,
    SPOOL_INTERVAL,
    SPOOL_SHUTDOWN,
    SPOOL_RECOVERY, /* left by an earlier process */
    SPOOL_TRIGGER_COUNT,
};

/* A closed segment, owned by whoever took it. */
struct spool_segment {
    struct spool_segment *prev, *next;
    struct uuid id;             /* of the batch; its time is when the segment was opened */
    unsigned format;            /* of its lines */
    int directory;              /* its directory: of the process, or an adopted one */
    char name[SPOOL_NAME_SIZE]; /* of its file */
    char *path;                 /* for messages */
    uint64_t rows;
    uint64_t bytes;
    uint64_t batch; /* the process's batch number; unused after a recovery */
    enum spool_trigger trigger;
    bool synced;    /* to disk */
    bool has_spare; /* more disk is reserved for it than it needs */
};

/* Appends a whole segment to `bytes`. Sync it again after a failure, which tells whether it is
 * lost. */
MUST_USE bool spool_segment_read(struct spool_segment *segment, struct buffer *bytes,
                                 struct failure *failure);

enum spool_synced {
    SPOOL_SYNCED,
    SPOOL_NOT_NOW, /* the system is short of something */
    SPOOL_LOST,    /* the file is gone, no segment any more, or unreadable */
};

/* Syncs the content of the file, once, and frees reserved blocks that were not used: that waits for
 * the file system's journal, so the loop must not do it. Call spool_segment_sync_names afterwards,
 * once for each directory. */
MUST_USE enum spool_synced spool_segment_sync(struct spool_segment *segment,
                                              struct failure *failure);

/* Syncs the segment's directory, and so the names of all segments in it. */
MUST_USE bool spool_segment_sync_names(const struct spool_segment *segment);

/* Writes and syncs lines of a segment with this name to <base>/<name>.<suffix>, replacing an
 * existing one; without lines, removes it. */
MUST_USE bool spool_segment_set_aside(const char *base, const char *name, const char *suffix,
                                      struct slice lines, struct failure *failure);

/* Frees one, or a utlist of them, without touching their files. */
void spool_segment_free(struct spool_segment *segment);
void spool_segment_free_all(struct spool_segment *segments);

/* The segment is sent: removes the file and frees the segment. */
void spool_segment_discard(struct spool_segment *segment);

#endif
