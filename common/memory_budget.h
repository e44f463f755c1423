/* A limit on memory that several threads hold in many pieces. Past it, the heaviest piece goes
 * first.
 *
 * Each thread has a holder, and each piece belongs to one. Pieces are in lists by weight, in powers
 * of two, in order of arrival, so that the next to go is found in bounded time. Past the limit it
 * is condemned: it no longer counts, and its holder releases it when it next checks. In case other
 * holders are slow to do so, a piece that grows is condemned too once the total, condemned pieces
 * included, would exceed twice the limit.
 */
#ifndef COMMON_MEMORY_BUDGET_H
#define COMMON_MEMORY_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define MEMORY_WEIGHTS 12 /* to 1 KiB, to 2 KiB, …; the last is for more than 1 MiB */

struct memory_piece {
    struct memory_piece *prev, *next;
    struct memory_holder *holder;
    size_t bytes;   /* 0: holds nothing */
    size_t list;    /* index of its list, unless bytes is 0 */
    bool condemned; /* no longer counts towards held */
    bool taken;     /* condemned, and its holder knows */
};

struct memory_budget {
    size_t limit; /* bytes */
    pthread_mutex_t lock;
    struct memory_piece *by_weight[MEMORY_WEIGHTS];
    size_t held;      /* bytes */
    size_t condemned; /* bytes, not part of held */
    size_t peak;      /* of both together, since the last memory_budget_peak */
};

struct memory_holder {
    struct memory_budget *budget;
    struct memory_piece *condemned; /* to be released */
    atomic_bool any;                /* whether there are any; read without the lock */
};

void memory_budget_open(struct memory_budget *budget, size_t limit);
void memory_budget_close(struct memory_budget *budget);

/* Bytes held now, including condemned pieces. */
size_t memory_budget_held(struct memory_budget *budget);

/* The most bytes held at once since the last call. */
size_t memory_budget_peak(struct memory_budget *budget);

/* Records that a piece now holds `bytes`; 0: it is released. The heaviest piece goes first. Pieces
 * start zeroed except for their holder. */
void memory_budget_hold(struct memory_piece *piece, size_t bytes, size_t weight);

/* A piece that its holder must release, each once; NULL: none. */
struct memory_piece *memory_budget_take_condemned(struct memory_holder *holder);

#endif
