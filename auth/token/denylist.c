#include "auth/token/denylist.h"

#include <string.h>
#include <sys/mman.h>

#include "common/clock.h"
#include "common/siphash.h"

#define LIFE_S   (86400 + 3600) /* the longest that a token lives, and what clocks may differ */
#define CHANGING 1

bool denylist_open(struct denylist *denylist)
{
    void *slots = mmap(NULL, DENYLIST_SLOTS * sizeof(*denylist->slots), PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    denylist->slots = slots != MAP_FAILED ? slots : NULL;
    return denylist->slots != NULL;
}

void denylist_close(struct denylist *denylist)
{
    if (denylist->slots != NULL)
        munmap(denylist->slots, DENYLIST_SLOTS * sizeof(*denylist->slots));
    denylist->slots = NULL;
}

static void split(const struct uuid *jti, uint64_t words[2])
{
    memcpy(words, jti->bytes, sizeof(jti->bytes));
}

/* Seeded, since an operator may revoke any jti that somebody gives him. */
static size_t first_slot(const struct uuid *jti)
{
    return siphash_seeded(jti->bytes, sizeof(jti->bytes)) % DENYLIST_SLOTS;
}

static size_t next(size_t at)
{
    return (at + 1) % DENYLIST_SLOTS;
}

/* With acquire, the expiry that is loaded next is not older than these words. */
static bool holds(const struct denylist_slot *slot, const uint64_t words[2])
{
    uint64_t first = atomic_load_explicit(&slot->words[0], memory_order_acquire);
    uint64_t second = atomic_load_explicit(&slot->words[1], memory_order_acquire);

    return first == words[0] && second == words[1];
}

static int64_t expiry_of(const struct denylist_slot *slot)
{
    return atomic_load_explicit(&slot->expires_at, memory_order_acquire);
}

/* Readers who meet the slot meanwhile see CHANGING, or that the expiry is another afterwards. */
static void fill(struct denylist_slot *slot, const uint64_t words[2], int64_t expires_at)
{
    atomic_store_explicit(&slot->expires_at, CHANGING, memory_order_relaxed);
    atomic_store_explicit(&slot->words[0], words[0], memory_order_release);
    atomic_store_explicit(&slot->words[1], words[1], memory_order_release);
    atomic_store_explicit(&slot->expires_at, expires_at, memory_order_release);
}

int64_t denylist_latest(const struct uuid *jti, int64_t now)
{
    int64_t made = uuid_v7_unix_ms(jti) / 1000;

    return (made < now ? made : now) + LIFE_S;
}

bool denylist_add(struct denylist *denylist, const struct uuid *jti, int64_t expires_at,
                  int64_t now)
{
    struct denylist_slot *slots = denylist->slots, *free_slot = NULL;
    uint64_t words[2];
    size_t at = first_slot(jti);
    int64_t expiry;

    if (expires_at > denylist_latest(jti, now))
        expires_at = denylist_latest(jti, now);
    if (expires_at <= now)
        return true;
    split(jti, words);
    for (; (expiry = expiry_of(slots + at)) != 0; at = next(at)) {
        if (holds(slots + at, words)) {
            if (expiry < expires_at)
                atomic_store_explicit(&slots[at].expires_at, expires_at, memory_order_release);
            return true;
        }
        if (expiry <= now && free_slot == NULL)
            free_slot = slots + at;
    }
    if (free_slot == NULL) {
        if (atomic_load(&denylist->used) >= DENYLIST_MAX) {
            atomic_store(&denylist->full, true);
            return false;
        }
        atomic_fetch_add(&denylist->used, 1);
        free_slot = slots + at;
    }
    fill(free_slot, words, expires_at);
    atomic_fetch_add(&denylist->live, 1);
    return true;
}

/* From the end: a slot that has expired and is followed by an empty one can become empty, since no
 * search goes on from it. */
void denylist_sweep(struct denylist *denylist, int64_t now)
{
    size_t live = 0, freed = 0;

    if (atomic_load(&denylist->used) == 0)
        return;
    for (size_t i = 2 * DENYLIST_SLOTS; i-- != 0;) { /* twice: the first may follow the last */
        struct denylist_slot *slot = denylist->slots + i % DENYLIST_SLOTS;
        int64_t expiry = expiry_of(slot);

        if (expiry == 0)
            continue;
        if (expiry <= now && expiry_of(denylist->slots + next(i)) == 0) {
            atomic_store_explicit(&slot->expires_at, 0, memory_order_release);
            ++freed;
        } else if (expiry > now && i < DENYLIST_SLOTS) {
            ++live;
        }
    }
    atomic_fetch_sub(&denylist->used, freed);
    atomic_store(&denylist->live, live);
}

bool denylist_has(const struct denylist *denylist, const struct uuid *jti)
{
    uint64_t words[2];
    size_t at = first_slot(jti);
    int64_t expiry;

    split(jti, words);
    while ((expiry = expiry_of(denylist->slots + at)) != 0) {
        bool found = holds(denylist->slots + at, words);

        if (atomic_load_explicit(&denylist->slots[at].expires_at, memory_order_relaxed) != expiry)
            continue; /* changed meanwhile: look again */
        if (found && expiry != CHANGING)
            return true;
        at = next(at);
    }
    return false;
}

bool denylist_is_current(const struct denylist *denylist, uint64_t stale_ms)
{
    uint64_t complete_ms = atomic_load_explicit(&denylist->complete_ms, memory_order_acquire);

    return complete_ms != 0 && !atomic_load_explicit(&denylist->full, memory_order_acquire) &&
           clock_monotonic_ms() - complete_ms <= stale_ms;
}
