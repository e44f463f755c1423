/* Failed authentications: see throttle.h.
 *
 * A bucket is one number, the moment at which it is full again (the generic cell rate algorithm):
 * each failure moves it on by an interval, and it must not be further ahead than the burst.
 */
#include "auth/throttle.h"

#include <h2o.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

struct bucket {
    struct lru_entry entry;
    uint64_t full_at_ms; /* monotonic */
    bool exists;         /* of a client id */
    char key[];
};

static const struct {
    uint64_t burst, interval_ms;
} rates[THROTTLE_BY_COUNT] = {
    [THROTTLE_PEER] = {THROTTLE_PEER_BURST, THROTTLE_PEER_MS},
    [THROTTLE_ID] = {THROTTLE_ID_BURST, THROTTLE_ID_MS},
};

#define ID_MAX 64 /* longer ones, which no client has, share a bucket by their beginning */

/* The keys of an attempt. Of an IPv6 address the network counts: a host has all of it. */
struct keys {
    struct network_address peer;
    struct slice slices[THROTTLE_BY_COUNT];
};

static void make_keys(struct keys *keys, const struct network_address *peer, struct slice id)
{
    char text[NETWORK_TEXT_MAX];
    bool v6;

    keys->peer = *peer;
    v6 = strchr(network_address_format(peer, text), ':') != NULL;
    if (v6)
        memset(keys->peer.bytes + 8, 0, 8);
    keys->slices[THROTTLE_PEER] =
        (struct slice){(const char *)keys->peer.bytes, sizeof(keys->peer.bytes)};
    keys->slices[THROTTLE_ID] = (struct slice){id.bytes, id.length < ID_MAX ? id.length : ID_MAX};
}

static struct bucket *bucket_of(struct lru_entry *entry)
{
    return entry != NULL ? H2O_STRUCT_FROM_MEMBER(struct bucket, entry, entry) : NULL;
}

static void forget(struct lru *table, struct lru_entry *entry)
{
    lru_remove(table, entry);
    free(bucket_of(entry));
}

void throttle_open(struct throttle *throttle)
{
    *throttle = (struct throttle){.tables[THROTTLE_PEER].capacity = THROTTLE_MAX_ENTRIES,
                                  .tables[THROTTLE_ID].capacity = THROTTLE_MAX_ENTRIES};
    pthread_mutex_init(&throttle->mutex, NULL);
}

static void clear(struct lru *table)
{
    while (lru_oldest(table) != NULL)
        forget(table, lru_oldest(table));
}

void throttle_close(struct throttle *throttle)
{
    for (enum throttle_by by = 0; by != THROTTLE_BY_COUNT; ++by)
        clear(&throttle->tables[by]);
    pthread_mutex_destroy(&throttle->mutex);
}

/* How long until one more failure has its place; 0: it has. */
static uint64_t wait_ms(const struct bucket *bucket, enum throttle_by by, uint64_t now_ms)
{
    uint64_t span_ms = (rates[by].burst - 1) * rates[by].interval_ms;

    return bucket != NULL && bucket->full_at_ms > now_ms + span_ms
               ? bucket->full_at_ms - now_ms - span_ms
               : 0;
}

static struct throttle_refusal find_refusal(struct bucket *const buckets[THROTTLE_BY_COUNT],
                                            uint64_t now_ms)
{
    struct throttle_refusal refusal = {0};

    for (enum throttle_by by = 0; by != THROTTLE_BY_COUNT; ++by) {
        uint64_t wait = wait_ms(buckets[by], by, now_ms);

        if (wait > refusal.wait_ms)
            refusal = (struct throttle_refusal){.wait_ms = wait, .by = by};
    }
    return refusal;
}

struct throttle_refusal throttle_check(struct throttle *throttle,
                                       const struct network_address *peer, struct slice id,
                                       uint64_t now_ms)
{
    struct bucket *buckets[THROTTLE_BY_COUNT];
    struct throttle_refusal refusal;
    struct keys keys;

    make_keys(&keys, peer, id);
    pthread_mutex_lock(&throttle->mutex);
    for (enum throttle_by by = 0; by != THROTTLE_BY_COUNT; ++by)
        buckets[by] = bucket_of(lru_find(&throttle->tables[by], keys.slices[by]));
    if (buckets[THROTTLE_ID] != NULL && buckets[THROTTLE_ID]->exists)
        buckets[THROTTLE_ID] = NULL;
    refusal = find_refusal(buckets, now_ms);
    pthread_mutex_unlock(&throttle->mutex);
    return refusal;
}

static struct bucket *find_or_add(struct lru *table, struct slice key)
{
    struct bucket *bucket = bucket_of(lru_find(table, key));

    if (bucket == NULL) {
        bucket = h2o_mem_alloc(sizeof(*bucket) + key.length);
        *bucket = (struct bucket){.entry.key = {bucket->key, key.length}};
        memcpy(bucket->key, key.bytes, key.length);
        free(bucket_of(lru_add(table, &bucket->entry)));
    }
    return bucket;
}

struct throttle_refusal throttle_fail(struct throttle *throttle, const struct network_address *peer,
                                      struct slice id, bool exists, uint64_t now_ms)
{
    struct bucket *buckets[THROTTLE_BY_COUNT];
    struct throttle_refusal refusal;
    struct keys keys;

    make_keys(&keys, peer, id);
    pthread_mutex_lock(&throttle->mutex);
    for (enum throttle_by by = 0; by != THROTTLE_BY_COUNT; ++by)
        buckets[by] = keys.slices[by].length != 0
                          ? find_or_add(&throttle->tables[by], keys.slices[by])
                          : NULL;
    if (buckets[THROTTLE_ID] != NULL)
        buckets[THROTTLE_ID]->exists = exists;
    refusal = find_refusal(buckets, now_ms);
    for (enum throttle_by by = 0; refusal.wait_ms == 0 && by != THROTTLE_BY_COUNT; ++by) {
        uint64_t from_ms;

        if (buckets[by] == NULL)
            continue;
        from_ms = buckets[by]->full_at_ms > now_ms ? buckets[by]->full_at_ms : now_ms;
        buckets[by]->full_at_ms = from_ms + rates[by].interval_ms;
    }
    pthread_mutex_unlock(&throttle->mutex);
    return refusal;
}

void throttle_forget(struct throttle *throttle, struct slice id)
{
    struct lru *table = &throttle->tables[THROTTLE_ID];
    struct lru_entry *entry;

    pthread_mutex_lock(&throttle->mutex);
    if (slice_equal(id, SLICE("*")))
        clear(table);
    else if ((entry = lru_find(table, id)) != NULL)
        forget(table, entry);
    pthread_mutex_unlock(&throttle->mutex);
}
