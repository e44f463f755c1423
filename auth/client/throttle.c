/* A bucket is one number, the time at which it is full again (the generic cell rate algorithm).
 * Each failure advances it by one interval; it may run ahead of now by the burst, plus any debt.
 */
#include "auth/client/throttle.h"

#include <h2o.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"

struct bucket {
    struct lru_entry entry;
    uint64_t full_at_ms; /* monotonic */
    bool exists;         /* the client id does */
    char key[];
};

struct rate {
    uint64_t burst, interval_ms;
};

static const struct rate rates[THROTTLE_BY_COUNT] = {
    [THROTTLE_PEER] = {THROTTLE_PEER_BURST, THROTTLE_PEER_MS},
    [THROTTLE_ID] = {THROTTLE_ID_BURST, THROTTLE_ID_MS},
    [THROTTLE_ALL] = {THROTTLE_ALL_BURST, THROTTLE_ALL_MS},
};
static const struct rate known_rate = {THROTTLE_KNOWN_BURST, THROTTLE_KNOWN_MS};

#define ID_MAX 64 /* longer ids, which no client has, share a bucket by prefix */

/* The bucket keys of an attempt. IPv6 addresses count by /64, since one host has all of it. */
struct keys {
    struct network_address peer;
    struct slice slices[THROTTLE_TABLE_COUNT];
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
                                  .tables[THROTTLE_ID].capacity = THROTTLE_MAX_ENTRIES,
                                  .known.capacity = THROTTLE_MAX_KNOWN};
    pthread_mutex_init(&throttle->mutex, NULL);
}

static void clear(struct lru *table)
{
    while (lru_oldest(table) != NULL)
        forget(table, lru_oldest(table));
}

void throttle_close(struct throttle *throttle)
{
    for (enum throttle_by by = 0; by != THROTTLE_TABLE_COUNT; ++by)
        clear(&throttle->tables[by]);
    clear(&throttle->known);
    pthread_mutex_destroy(&throttle->mutex);
}

/* Milliseconds until one more failure fits; 0: it fits now. */
static uint64_t wait_ms(uint64_t full_at_ms, const struct rate *rate, uint64_t now_ms)
{
    uint64_t span_ms = (rate->burst - 1) * rate->interval_ms;

    return full_at_ms > now_ms + span_ms ? full_at_ms - now_ms - span_ms : 0;
}

static void take(uint64_t *full_at_ms, const struct rate *rate, uint64_t now_ms)
{
    *full_at_ms = (*full_at_ms > now_ms ? *full_at_ms : now_ms) + rate->interval_ms;
}

/* Takes even beyond the burst, by up to THROTTLE_DEBT_MS. */
static void take_on_credit(uint64_t *full_at_ms, const struct rate *rate, uint64_t now_ms)
{
    uint64_t latest_ms = now_ms + (rate->burst - 1) * rate->interval_ms + THROTTLE_DEBT_MS;

    take(full_at_ms, rate, now_ms);
    if (*full_at_ms > latest_ms)
        *full_at_ms = latest_ms;
}

/* NULL where no failure is on record. */
static void find_buckets(struct throttle *throttle, const struct keys *keys,
                         struct bucket *buckets[THROTTLE_TABLE_COUNT])
{
    for (enum throttle_by by = 0; by != THROTTLE_TABLE_COUNT; ++by)
        buckets[by] = bucket_of(lru_find(&throttle->tables[by], keys->slices[by]));
}

static uint64_t bucket_wait_ms(const struct bucket *bucket, enum throttle_by by, uint64_t now_ms)
{
    return bucket != NULL ? wait_ms(bucket->full_at_ms, &rates[by], now_ms) : 0;
}

/* Same order for existing and unknown ids. `guess`: the attempt names a possible id. */
static struct throttle_refusal judge(const struct throttle *throttle,
                                     struct bucket *const buckets[THROTTLE_TABLE_COUNT], bool guess,
                                     uint64_t now_ms)
{
    struct throttle_refusal refusal = {.wait_ms = bucket_wait_ms(buckets[THROTTLE_PEER],
                                                                 THROTTLE_PEER, now_ms),
                                       .by = THROTTLE_PEER};

    if (refusal.wait_ms == 0 && guess)
        refusal = (struct throttle_refusal){.wait_ms = wait_ms(throttle->all_full_at_ms,
                                                               &rates[THROTTLE_ALL], now_ms),
                                            .by = THROTTLE_ALL};
    if (refusal.wait_ms == 0 && guess)
        refusal = (struct throttle_refusal){.wait_ms = bucket_wait_ms(buckets[THROTTLE_ID],
                                                                      THROTTLE_ID, now_ms),
                                            .by = THROTTLE_ID};
    return refusal;
}

/* For an id that has not authenticated lately or has used up its own look-ups. The bucket of an id
 * known to exist does not count. */
static struct throttle_refusal check_stranger(struct throttle *throttle, const struct keys *keys,
                                              uint64_t now_ms)
{
    struct bucket *buckets[THROTTLE_TABLE_COUNT];

    find_buckets(throttle, keys, buckets);
    if (buckets[THROTTLE_ID] != NULL && buckets[THROTTLE_ID]->exists)
        buckets[THROTTLE_ID] = NULL;
    return judge(throttle, buckets, true, now_ms);
}

struct throttle_refusal throttle_check(struct throttle *throttle,
                                       const struct network_address *peer, struct slice id,
                                       uint64_t now_ms)
{
    struct throttle_refusal refusal = {0};
    struct bucket *known;
    struct keys keys;

    make_keys(&keys, peer, id);
    pthread_mutex_lock(&throttle->mutex);
    known = bucket_of(lru_find(&throttle->known, id));
    if (known != NULL && wait_ms(known->full_at_ms, &known_rate, now_ms) == 0)
        take(&known->full_at_ms, &known_rate, now_ms);
    else
        refusal = check_stranger(throttle, &keys, now_ms);
    pthread_mutex_unlock(&throttle->mutex);
    return refusal;
}

static struct bucket *add_bucket(struct lru *table, struct slice key)
{
    struct bucket *bucket = h2o_mem_alloc(sizeof(*bucket) + key.length);

    *bucket = (struct bucket){.entry.key = {bucket->key, key.length}};
    memcpy(bucket->key, key.bytes, key.length);
    free(bucket_of(lru_add(table, &bucket->entry)));
    return bucket;
}

void throttle_know(struct throttle *throttle, struct slice id)
{
    pthread_mutex_lock(&throttle->mutex);
    if (lru_find(&throttle->known, id) == NULL)
        add_bucket(&throttle->known, id);
    pthread_mutex_unlock(&throttle->mutex);
}

static struct bucket *bucket_for(struct throttle *throttle, const struct keys *keys,
                                 struct bucket *const buckets[THROTTLE_TABLE_COUNT],
                                 enum throttle_by by)
{
    return buckets[by] != NULL ? buckets[by] : add_bucket(&throttle->tables[by], keys->slices[by]);
}

/* A refused attempt that cost no look-up adds no entry: otherwise a refused peer could flood the
 * tables and evict everyone else. */
struct throttle_refusal throttle_fail(struct throttle *throttle,
                                      const struct throttle_failure *failure, uint64_t now_ms)
{
    struct bucket *buckets[THROTTLE_TABLE_COUNT], *peer;
    bool guess = failure->id.length != 0;
    struct throttle_refusal refusal;
    struct keys keys;

    make_keys(&keys, &failure->peer, failure->id);
    pthread_mutex_lock(&throttle->mutex);
    find_buckets(throttle, &keys, buckets);
    refusal = judge(throttle, buckets, guess, now_ms);
    if (refusal.wait_ms == 0 || failure->looked_up) {
        peer = bucket_for(throttle, &keys, buckets, THROTTLE_PEER);
        take_on_credit(&peer->full_at_ms, &rates[THROTTLE_PEER], now_ms);
    }
    if (failure->looked_up && !failure->exists)
        take_on_credit(&throttle->all_full_at_ms, &rates[THROTTLE_ALL], now_ms);
    if (refusal.wait_ms == 0 && guess) {
        buckets[THROTTLE_ID] = bucket_for(throttle, &keys, buckets, THROTTLE_ID);
        take(&buckets[THROTTLE_ID]->full_at_ms, &rates[THROTTLE_ID], now_ms);
    }
    if (buckets[THROTTLE_ID] != NULL)
        buckets[THROTTLE_ID]->exists = failure->exists;
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
