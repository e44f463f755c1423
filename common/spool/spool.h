/* Rows on their way to a database: appended to files that survive the process, and sent from there
 * by one thread.
 *
 *   <base>/<process>/<batch>   a segment: lines in PostgreSQL's COPY text format
 *   <base>/<batch>.rejected    lines that the database refused for their content
 *   <base>/<batch>.expired     a segment too old to tell whether it was sent
 *
 * Names are version 7 UUIDs. That of a batch also has the format, unless that is 1 (spool_name.h):
 * a number that says which columns the lines have, known to the caller. A process writes its own
 * format and reads all up to it. Files of a newer one wait for a process that knows it, so that
 * processes of two versions may share a spool.
 *
 * Each process has its own directory and holds a flock on it; a directory whose lock is free is
 * abandoned, and any process may send what is in it. Each writing thread appends to its own open
 * segment. A batch is what all of them have written since the last one: it ends at a number of rows
 * or at an age of its first row; then every thread closes its segment at the end of its pass and
 * hands it to the sender.
 *
 * The rows of a pass are appended in one write. A segment left by a crash is repaired by cutting
 * everything after its last line end: that row was never answered.
 */
#ifndef COMMON_SPOOL_SPOOL_H
#define COMMON_SPOOL_SPOOL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/counter.h"
#include "common/failure.h"
#include "common/spool/spool_segment.h"
#include "common/uuid.h"

#define SPOOL_ROW_MAX     16384              /* bytes of one row */
#define SPOOL_RESERVE     (1024 * 1024)      /* bytes reserved for an open segment at a time */
#define SPOOL_SEGMENT_MAX (16 * 1024 * 1024) /* bytes at which a segment ends the batch */
#define SPOOL_PASS_MAX    (16 * 1024 * 1024) /* bytes of the rows in a pass */
#define SPOOL_RETRY_MS    100                /* between checks for room once full */

struct spool_config {
    const char *base;
    uint64_t max_bytes; /* of this process's segments together */
    uint64_t batch_rows;
    uint64_t batch_interval_ms;
    unsigned format; /* that is written, and the newest that is read; at least 1 */
};

struct spool {
    struct spool_config config;
    char *directory;        /* this process's */
    int lock;               /* on it; segments are opened relative to it */
    _Atomic uint64_t bytes; /* of this process's segments */
    _Atomic uint64_t rows;  /* of this process's segments */
    _Atomic uint64_t batch_rows;
    _Atomic uint64_t batch; /* its number, doubled; low bit: the one before ended by age */
    pthread_mutex_t mutex;  /* guards what follows */
    pthread_cond_t changed;
    struct spool_segment *closed; /* oldest first */
    int64_t sending_unix_ms;      /* when the oldest segment taken was opened; 0: none */
    bool stopping;
};

/* Creates the base (mode 0700) and the process's directory. */
MUST_USE bool spool_open(struct spool *spool, const struct spool_config *config,
                         struct failure *failure);

/* Removes the process's directory if it is empty. Frees segments that were not taken. */
void spool_close(struct spool *spool);

/* The writing side: one writer per thread. */

struct spool_writer {
    struct spool *spool;
    struct uuid_source uuids;
    struct spool_segment *segment; /* the open segment, or NULL */
    int fd;
    uint64_t reserved;  /* bytes of the file reserved on disk */
    uint64_t first_ms;  /* monotonic: of the segment's first row; 0: it has none */
    struct buffer pass; /* the rows of this pass */
    uint64_t pass_rows;
    uint64_t lost_rows;             /* rows of the last pass that could not be written */
    bool failing;                   /* the last write failed */
    uint64_t retry_at_ms;           /* monotonic: no check for room before this; 0: any time */
    _Atomic int64_t opened_unix_ms; /* of the open segment with rows, for readers; 0: none */
    atomic_bool full;               /* no room at the last check; for readers */
};

void spool_writer_open(struct spool_writer *writer, struct spool *spool);

/* Whether one more row of SPOOL_ROW_MAX bytes fits. */
MUST_USE bool spool_has_room(struct spool_writer *writer);

/* Appends a row, with its line end, to the pass. Only after spool_has_room. */
char *spool_reserve_row(struct spool_writer *writer);
void spool_append_row(struct spool_writer *writer, size_t length);

/* Writes the rows of the pass. False when that failed: then none of them is recorded, and
 * `lost_rows` is their number. Also ends a batch that is due. */
MUST_USE bool spool_end_pass(struct spool_writer *writer);

/* After the last pass: hands the open segment over. */
void spool_writer_close(struct spool_writer *writer);

/* The sending side: one thread. */

/* Syncs closed segments as far as the disk allows; spool_segment_sync tries again. For the sender,
 * while it waits for something else. */
void spool_sync_closed(struct spool *spool);

/* Takes all closed segments, synced as above, oldest first, as a utlist; waits up to `timeout_ms`
 * for one. NULL when there is none, or when nothing more will come (spool_is_stopping). */
struct spool_segment *spool_take(struct spool *spool, uint64_t timeout_ms);

/* Puts unsent segments back in front. */
void spool_give_back(struct spool *spool, struct spool_segment *segments);

/* Wakes spool_take and spool_pause; neither waits again. */
void spool_stop(struct spool *spool);
bool spool_is_stopping(struct spool *spool);

/* Waits, but not past spool_stop. */
void spool_pause(struct spool *spool, uint64_t duration_ms);

/* Gives up a segment without touching its file. `spool` as for spool_discard. */
void spool_forget(struct spool *spool, struct spool_segment *segment);

/* The segment is sent: removes the file and frees the segment. `spool` is NULL for one that another
 * process left. */
void spool_discard(struct spool *spool, struct spool_segment *segment);

/* When the segment of the oldest unsent row was opened, in Unix milliseconds; 0: there is none. */
int64_t spool_oldest_unix_ms(struct spool *spool, const struct spool_writer *const *writers,
                             size_t count);

#endif
