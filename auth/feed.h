/* The feed: the thread that hears PostgreSQL for all workers, over a connection of its own.
 *
 * It keeps the set of revoked tokens (token/denylist.h): reads the table after LISTEN is in effect
 * and after each loss of the connection, and then the rows whose jti is notified on jotd_revoked,
 * or after a `*` all that may be new. A notification only tells where to look, since anybody who
 * can connect may send one. The feed's own, sent every few seconds, must come back: what was
 * committed before it has been heard by then.
 *
 * It also writes revocations, reads pages of the table, and writes the row by which others know
 * this server (auth/instance.h), so that these hold up no look-up.
 * Revocations that arrive while one statement runs go together in the next.
 */
#ifndef AUTH_FEED_H
#define AUTH_FEED_H

#include <h2o.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/client.h"
#include "auth/instance.h"
#include "auth/token/denylist.h"
#include "common/attributes.h"
#include "common/backoff.h"
#include "common/failure.h"
#include "common/pg/pg_blocking.h"
#include "common/uuid.h"
#include "common/watch.h"

#define FEED_QUEUE_MAX 10000 /* revocations that wait; further ones are refused */
#define FEED_PAGES_MAX 64    /* the same for pages */
#define FEED_TOLD_MAX  1000  /* tokens looked up at once; when more are notified, all is read */

/* Something that a worker asks for. It makes it with malloc, and the callback frees it. */
struct feed_job {
    struct feed_job *prev, *next; /* private, as is `port` */
    struct feed_port *port;
    /* On the requester's loop, once. */
    void (*on_done)(struct feed_job *);
};

/* A token to be revoked. */
struct feed_revocation {
    struct feed_job job;
    struct uuid jti;
    char client_id[CLIENT_ID_MAX + 1];
    int64_t expires_at; /* epoch seconds */
    bool recorded;      /* committed, or known to be revoked already */
};

/* A page of the table, after (xid, jti); see token/revoked_tokens.h. */
struct feed_page {
    struct feed_job job;
    char xid[24];
    char jti[UUID_TEXT_LENGTH + 1];
    PGresult *result; /* NULL: it could not be read; otherwise the callback clears it */
};

/* A worker's end. */
struct feed_port {
    struct feed *feed;
    int fd; /* an eventfd: there are results */
    struct watch watch;
    struct feed_job *done; /* under the feed's mutex */
};

struct feed {
    struct denylist denylist;
    pthread_t thread;
    bool started;
    atomic_bool settled; /* has read the revoked tokens, or has failed to, once */
    atomic_bool stopping;
    atomic_bool ended;     /* the thread has finished */
    int fd;                /* an eventfd: there are revocations, or it is to stop */
    pthread_mutex_t mutex; /* guards these */
    struct feed_job *revocations, *pages;
    size_t revocation_count, page_count;
    bool connected;

    /* Of the thread. */
    struct pg_blocking pg;
    uint64_t stale_ms;
    uint64_t beat_every_ms;
    char beat_channel[32];
    uint64_t beat_sent_ms; /* monotonic; 0: none is out */
    uint64_t beat_at_ms;   /* monotonic: when to send the next */
    uint64_t heard_ms;     /* monotonic: what was committed by then has been heard; 0: unknown */
    uint64_t sweep_at_ms;  /* monotonic */
    char cursor[24];       /* a transaction id: all before it has been read */
    char beat_cursor[24];  /* the same, once the beat that is out has been heard */
    struct uuid told[FEED_TOLD_MAX]; /* notified, and to be looked up */
    size_t told_count;
    bool is_behind;    /* the table has to be read from the cursor on */
    bool overflowed;   /* since the table was last read from the start */
    bool is_stale;     /* logged as such */
    int64_t clocks_ms; /* how far the wall clock is ahead of the monotonic one */
    struct backoff backoff;
    struct failure last; /* failure to connect; logged when it changes */
    struct instance instance;
};

/* `url` must outlive the feed. `stale_ms`: how long the set counts as current without
 * PostgreSQL. The feed's `instance` is opened beforehand. */
MUST_USE bool feed_open(struct feed *feed, const char *url, uint64_t stale_ms,
                        struct failure *failure);
MUST_USE bool feed_start(struct feed *feed, struct failure *failure);

/* Call when no worker runs any more. False if it is stuck at `deadline_ms` (monotonic): its thread
 * still runs, so the process must exit without freeing anything. */
MUST_USE bool feed_stop(struct feed *feed, uint64_t deadline_ms);

/* Harmless if it was not opened. */
void feed_close(struct feed *feed);

/* False when no file descriptor is left. */
MUST_USE bool feed_port_open(struct feed_port *port, struct feed *feed, h2o_loop_t *loop);

/* Frees results that were not called back. */
void feed_port_close(struct feed_port *port);

/* Has a token revoked in PostgreSQL, then here. False when PostgreSQL is away or too many wait: the
 * revocation stays the caller's. */
MUST_USE bool feed_port_revoke(struct feed_port *port, struct feed_revocation *revocation);

/* Has a page read; false likewise. */
MUST_USE bool feed_port_read(struct feed_port *port, struct feed_page *page);

#endif
