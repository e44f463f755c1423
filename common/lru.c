#include "common/lru.h"

struct lru_entry *lru_find(struct lru *lru, struct slice key)
{
    struct lru_entry *entry;

    HASH_FIND(hh, lru->entries, key.bytes, key.length, entry);
    /* The newest entry has no successor. Touching it again would change nothing, and with a single
     * entry uthash would free and rebuild its whole table. */
    if (entry != NULL && entry->hh.next != NULL) {
        HASH_DELETE(hh, lru->entries, entry);
        HASH_ADD_KEYPTR_BYHASHVALUE(hh, lru->entries, entry->key.bytes, entry->key.length,
                                    entry->hh.hashv, entry);
    }
    return entry;
}

struct lru_entry *lru_peek(const struct lru *lru, struct slice key)
{
    struct lru_entry *entry;

    HASH_FIND(hh, lru->entries, key.bytes, key.length, entry);
    return entry;
}

struct lru_entry *lru_add(struct lru *lru, struct lru_entry *entry)
{
    struct lru_entry *oldest = NULL;

    if (lru_count(lru) >= lru->capacity) {
        oldest = lru->entries;
        HASH_DELETE(hh, lru->entries, oldest);
    }
    HASH_ADD_KEYPTR(hh, lru->entries, entry->key.bytes, entry->key.length, entry);
    return oldest;
}

void lru_remove(struct lru *lru, struct lru_entry *entry)
{
    HASH_DELETE(hh, lru->entries, entry);
}
