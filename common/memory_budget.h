/* A bound for memory that several threads hold in many pieces, of which the heaviest is given up
 * first.
 *
 * Each thread has a holder, and each piece belongs to one. Pieces stand in lists by weight, in
 * powers of two, the one that came there first in front, so that the next to go is found in bounded
 * time. Past the limit it is condemned: it counts no more, and its holder gives it up when it looks
 * next.
 * Should other holders not get to that, the piece that grows is condemned as well, so that all of
 * them together never hold more than twice the limit.
 */
#ifndef COMMON_MEMORY_BUDGET_H
#define COMMON_MEMORY_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define MEMORY_WEIGHTS 12 /* to 1 KiB, to 2 KiB, …; the last has what is heavier than 1 MiB */

struct memory_piece {
    struct memory_piece *prev, *next;
    struct memory_holder *holder;
    size_t bytes;   /* 0: it holds nothing */
    size_t list;    /* in which it is, when it does */
    bool condemned; /* it no longer counts */
    bool taken;     /* likewise, and its holder knows */
};

struct memory_budget {
    size_t limit; /* bytes */
    pthread_mutex_t lock;
    struct memory_piece *by_weight[MEMORY_WEIGHTS];
    size_t held;      /* bytes */
    size_t condemned; /* bytes, beside them */
    size_t peak;      /* of both together, since memory_budget_peak */
};

struct memory_holder {
    struct memory_budget *budget;
    struct memory_piece *condemned; /* those that are to be given up */
    atomic_bool any;                /* whether there are any, to be read without the lock */
};

void memory_budget_open(struct memory_budget *budget, size_t limit);
void memory_budget_close(struct memory_budget *budget);

/* Bytes that are held now. */
size_t memory_budget_held(struct memory_budget *budget);

/* The most that were held at once since the last call. */
size_t memory_budget_peak(struct memory_budget *budget);

/* A piece holds so many bytes now; 0: it is given back. Among those that hold any, the weight says
 * which goes first. Pieces begin zeroed, with their holder. */
void memory_budget_hold(struct memory_piece *piece, size_t bytes, size_t weight);

/* A piece that its holder is to give up, each once; NULL: none. */
struct memory_piece *memory_budget_take_condemned(struct memory_holder *holder);

#endif
