/* A bounded map from text to records that evicts the least recently used, on uthash: its insertion
 * order is the LRU order, so a touch is a delete and an add. Records embed `struct lru_entry`; the
 * map does not own them: lru_add returns what it evicts.
 */
#ifndef COMMON_LRU_H
#define COMMON_LRU_H

#include <stddef.h>

#include "common/map.h"
#include "common/slice.h"

struct lru_entry {
    struct slice key; /* points into the record */
    UT_hash_handle hh;
};

struct lru {
    struct lru_entry *entries; /* the head is the least recently used */
    size_t capacity;           /* at least 1 */
};

static inline size_t lru_count(const struct lru *lru)
{
    return HASH_COUNT(lru->entries);
}

/* The entry for that key, now the most recently used, or NULL. */
struct lru_entry *lru_find(struct lru *lru, struct slice key);

/* The same, but keeps its place in the LRU order. */
struct lru_entry *lru_peek(const struct lru *lru, struct slice key);

/* Adds an entry whose key must not be present. Returns the evicted entry, now the caller's to
 * dispose of, or NULL. */
struct lru_entry *lru_add(struct lru *lru, struct lru_entry *entry);

/* Removes an entry, which must be present. */
void lru_remove(struct lru *lru, struct lru_entry *entry);

/* The least recently used entry, or NULL. */
static inline struct lru_entry *lru_oldest(const struct lru *lru)
{
    return lru->entries;
}

/* The most recently used entry, or NULL. */
static inline struct lru_entry *lru_newest(const struct lru *lru)
{
    UT_hash_table *table = lru->entries != NULL ? lru->entries->hh.tbl : NULL;

    return table != NULL ? ELMT_FROM_HH(table, table->tail) : NULL;
}

/* The entry used just before this one, or NULL. */
static inline struct lru_entry *lru_older(const struct lru_entry *entry)
{
    return entry->hh.prev;
}

#endif
