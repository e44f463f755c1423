/* The revoked tokens that have not expired yet, by jti: one set per process, in memory.
 *
 * One thread writes, and any number read without a lock. A slot is a jti in two words and an
 * expiry: the writer stores the expiry last, readers load it before and after the words. A
 * revocation is never taken back, so reading the table again only adds. An expired slot is used
 * again, or becomes empty when nothing follows it, so that no search passes many.
 *
 * Keyed by jti, never by a hash of the token: an ES256 signature has a second valid form.
 */
#ifndef AUTH_TOKEN_DENYLIST_H
#define AUTH_TOKEN_DENYLIST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/uuid.h"

#define DENYLIST_SLOTS (1u << 21)               /* of 24 bytes: 48 MiB, as they are used */
#define DENYLIST_MAX   (DENYLIST_SLOTS / 8 * 7) /* used slots; with more, searches get long */

struct denylist_slot {
    _Atomic uint64_t words[2];  /* of the jti */
    _Atomic int64_t expires_at; /* epoch seconds; 0: empty, here a search ends; 1: being changed */
};

struct denylist {
    struct denylist_slot *slots;
    _Atomic size_t used;          /* slots that are not empty */
    _Atomic size_t live;          /* of them, not expired at the last sweep, or added since */
    atomic_bool full;             /* something could not be added: ask no more */
    _Atomic uint64_t complete_ms; /* monotonic: held all that was revoked by then; 0: never did */
};

/* False when the system has no address space for it. */
MUST_USE bool denylist_open(struct denylist *denylist);
void denylist_close(struct denylist *denylist);

/* The writing thread. `now` and `expires_at` are epoch seconds. An entry is kept no longer than
 * denylist_latest. False when there is no room: then `full` is
 * set, which the caller takes back once everything fits. */
bool denylist_add(struct denylist *denylist, const struct uuid *jti, int64_t expires_at,
                  int64_t now);

/* The latest expiry, in epoch seconds, of a token with this jti: that after a day, and an hour by
 * which clocks may differ, from when it was made, or from now if that is still to come. */
int64_t denylist_latest(const struct uuid *jti, int64_t now);

/* The writing thread: frees what has expired. Takes some milliseconds when many slots are used. */
void denylist_sweep(struct denylist *denylist, int64_t now);

/* Any thread: whether it was revoked. */
MUST_USE bool denylist_has(const struct denylist *denylist, const struct uuid *jti);

/* Any thread: whether denylist_has can be relied on: everything that was revoked until `stale_ms`
 * ago is known. */
MUST_USE bool denylist_is_current(const struct denylist *denylist, uint64_t stale_ms);

#endif
