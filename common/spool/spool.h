/* Rows on their way to a database: appended to files that survive the process, taken from there by
 * one sender.
 *
 *   <base>/<process>/<batch>   a segment: lines in PostgreSQL's COPY text format
 *   <base>/<batch>.rejected    lines that the database refused for their content
 *   <base>/<batch>.expired     a segment too old to be told from one that was sent
 *
 * Names are UUIDs of version 7. Each process has a directory of its own and holds a flock on it; a
 * directory whose lock can be had is abandoned, and any process may send what is there. Each
 * writing thread appends to an open segment of its own. A batch is what all of them have written
 * since the last: it ends with a number of rows or with the age of its first one, then every
 * thread closes its segment at the end of its pass and hands it to the sender.
 *
 * The rows of a pass are appended in one write. A segment that a crash left is repaired by cutting
 * what follows its last line end: that row was never answered for.
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
#define SPOOL_RESERVE     (1024 * 1024)      /* bytes that an open segment is given at a time */
#define SPOOL_SEGMENT_MAX (16 * 1024 * 1024) /* bytes at which a segment closes the batch */
#define SPOOL_PASS_MAX    (16 * 1024 * 1024) /* bytes of the rows of a pass */
#define SPOOL_RETRY_MS    100                /* between looks for room where there was none */

struct spool_config {
    const char *base;
    uint64_t max_bytes; /* of this process's segments together */
    uint64_t batch_rows;
    uint64_t batch_interval_ms;
};

struct spool {
    struct spool_config config;
    char *directory;        /* this process's */
    int lock;               /* on it; segments are opened by this descriptor */
    _Atomic uint64_t bytes; /* of this process's segments */
    _Atomic uint64_t rows;  /* likewise */
    _Atomic uint64_t batch_rows;
    _Atomic uint64_t batch; /* its number, doubled; the low bit tells how the one before ended */
    pthread_mutex_t mutex;  /* of what follows */
    pthread_cond_t changed;
    struct spool_segment *closed; /* oldest first */
    int64_t sending_unix_ms;      /* when the oldest of those that were taken was opened; 0: none */
    bool stopping;
};

/* Makes the base (mode 0700) and the process's directory. */
MUST_USE bool spool_open(struct spool *spool, const struct spool_config *config,
                         struct failure *failure);

/* Removes the process's directory when nothing is left in it. Frees what was not taken. */
void spool_close(struct spool *spool);

/* The writing side: one thread each. */

struct spool_writer {
    struct spool *spool;
    struct uuid_source uuids;
    struct spool_segment *segment; /* the open one, or NULL */
    int fd;
    uint64_t reserved;  /* bytes of the file that have their place on the disk */
    uint64_t first_ms;  /* monotonic: of its first row; 0: it has none */
    struct buffer pass; /* the rows of this pass */
    uint64_t pass_rows;
    uint64_t lost_rows;             /* those that the last pass could not write */
    bool failing;                   /* the last write fell short */
    uint64_t retry_at_ms;           /* monotonic: no room was found, and is not looked for before */
    _Atomic int64_t opened_unix_ms; /* of the open segment with rows, for readers; 0: none */
    atomic_bool full;               /* no room, at the last look; for readers */
};

void spool_writer_open(struct spool_writer *writer, struct spool *spool);

/* Whether one more row of SPOOL_ROW_MAX bytes has its place. */
MUST_USE bool spool_has_room(struct spool_writer *writer);

/* Appends a row, with its line end, to the pass. Only after spool_has_room. */
char *spool_reserve_row(struct spool_writer *writer);
void spool_append_row(struct spool_writer *writer, size_t length);

/* Writes the rows of the pass. False when they could not be written: none of them is recorded
 * then, and `lost_rows` says how many they were. Also ends a batch whose time has come. */
MUST_USE bool spool_end_pass(struct spool_writer *writer);

/* After the last pass: hands the open segment over. */
void spool_writer_close(struct spool_writer *writer);

/* The sending side: one thread. */

/* Syncs what is closed, as far as the disk does it now; spool_segment_sync tries again. For the
 * sender, while it waits for something else. */
void spool_sync_closed(struct spool *spool);

/* All that is closed, synced in this way, oldest first, as a utlist; waits up to `timeout_ms` for
 * it. NULL when there is none, or when nothing more will come (spool_is_stopping). */
struct spool_segment *spool_take(struct spool *spool, uint64_t timeout_ms);

/* What was not sent goes back to the front. */
void spool_give_back(struct spool *spool, struct spool_segment *segments);

/* Wakes spool_take for good. */
void spool_stop(struct spool *spool);
bool spool_is_stopping(struct spool *spool);

/* Waits; less when spool_stop comes. */
void spool_pause(struct spool *spool, uint64_t duration_ms);

/* Gives a segment up without touching its file. `spool` as for spool_discard. */
void spool_forget(struct spool *spool, struct spool_segment *segment);

/* It is sent: removes the file and frees the segment. `spool` is NULL for one that another process
 * left. */
void spool_discard(struct spool *spool, struct spool_segment *segment);

/* When the oldest row that is not sent was written, in Unix milliseconds; 0: there is none. */
int64_t spool_oldest_unix_ms(struct spool *spool, const struct spool_writer *const *writers,
                             size_t count);

#endif
