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
#include "common/uuid.h"

#define SPOOL_ROW_MAX     16384              /* bytes of one row */
#define SPOOL_RESERVE     (1024 * 1024)      /* bytes that an open segment is given at a time */
#define SPOOL_SEGMENT_MAX (16 * 1024 * 1024) /* bytes at which a segment closes the batch */
#define SPOOL_PASS_MAX    (16 * 1024 * 1024) /* bytes of the rows of a pass */
#define SPOOL_FILE_MAX    (SPOOL_SEGMENT_MAX + SPOOL_PASS_MAX) /* bytes of any file in the spool */
#define SPOOL_RETRY_MS    100 /* between looks for room where there was none */

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

/* Syncs what is closed, as far as the disk does it now; spool_sync tries again. For the sender,
 * while it waits for something else. */
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

/* Appends a whole segment to `bytes`. One that cannot be read is to be synced again, which tells
 * whether it is lost. */
MUST_USE bool spool_read(struct spool_segment *segment, struct buffer *bytes,
                         struct failure *failure);

enum spool_synced {
    SPOOL_SYNCED,
    SPOOL_NOT_NOW, /* the system is short of something */
    SPOOL_LOST,    /* the file is gone or no segment any more, or the disk does not give it */
};

/* Syncs what is in the file to disk, once, and gives back what was reserved and not used: freeing
 * blocks waits for the file system's journal, so it is no work for the loop. spool_sync_names must
 * follow, once for all that are in one directory. */
MUST_USE enum spool_synced spool_sync(struct spool_segment *segment, struct failure *failure);

/* Syncs the directory of this segment and those beside it. */
MUST_USE bool spool_sync_names(const struct spool_segment *segment);

/* Gives a segment up without touching its file. `spool` as for spool_discard. */
void spool_forget(struct spool *spool, struct spool_segment *segment);

/* It is sent: removes the file and frees the segment. `spool` is NULL for one that another process
 * left. */
void spool_discard(struct spool *spool, struct spool_segment *segment);

/* Writes and syncs <base>/<id>.<suffix>, in place of one that is there; without lines there is none
 * after it. */
MUST_USE bool spool_set_aside(const char *base, const struct uuid *id, const char *suffix,
                              struct slice lines, struct failure *failure);

/* Frees segments without touching their files. */
void spool_free(struct spool_segment *segments);

/* When the oldest row that is not sent was written, in Unix milliseconds; 0: there is none. */
int64_t spool_oldest_unix_ms(struct spool *spool, const struct spool_writer *const *writers,
                             size_t count);

/* What other processes left. */

#define SPOOL_PASSED_OVER_MAX 1000 /* files; what is more is passed over without a word */

/* What has a good name and is not sent, for what it is or because the disk does not give it: each
 * is logged and counted once. Zero it to start. */
struct spool_passed_over {
    struct spool_known *known; /* by path */
    struct counter files;
};

void spool_pass_over(struct spool_passed_over *passed_over, const char *path, const char *reason);
void spool_passed_over_dispose(struct spool_passed_over *passed_over);

struct spool_abandoned {
    char *directory; /* NULL: none */
    int lock;
    struct spool_segment *segments; /* repaired, oldest first */
};

/* Takes the lock of this directory of the base and lists it; false when it is not abandoned, or
 * gone. */
MUST_USE bool spool_adopt_directory(const char *base, const char *name,
                                    struct spool_passed_over *passed_over,
                                    struct spool_abandoned *abandoned);

/* The same for the first abandoned directory whose name comes after `after` (which may be empty),
 * so that one which cannot be removed does not hide the others. */
MUST_USE bool spool_adopt(const char *base, const char *after,
                          struct spool_passed_over *passed_over, struct spool_abandoned *abandoned);

/* Removes the directory when it is empty, and gives up the lock. */
void spool_release(struct spool_abandoned *abandoned);

/* What is there, for people who ask: reads only. */

/* Those of other processes that are not known to run. */
struct spool_directories {
    uint64_t abandoned;  /* not locked; none that this process has adopted */
    uint64_t unreadable; /* they belong to somebody else, and nobody can tell */
};

struct spool_directories spool_count_directories(const char *base);

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
bool spool_is_waiting(const struct spool_entry *entries, const struct spool_entry *file);

/* Moves a file that was set aside into the process's directory, as a segment of a new batch: from
 * then on it is like any other that the process left. Adds it to the list, when it has rows. */
MUST_USE bool spool_bring_back(struct spool *spool, const struct spool_entry *entry,
                               struct spool_passed_over *passed_over,
                               struct spool_segment **segments, struct failure *failure);

#endif
