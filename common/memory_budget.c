#include "common/memory_budget.h"

#include <utlist.h>

void memory_budget_open(struct memory_budget *budget, size_t limit)
{
    *budget = (struct memory_budget){.limit = limit};
    pthread_mutex_init(&budget->lock, NULL);
}

void memory_budget_close(struct memory_budget *budget)
{
    pthread_mutex_destroy(&budget->lock);
}

size_t memory_budget_held(struct memory_budget *budget)
{
    size_t held;

    pthread_mutex_lock(&budget->lock);
    held = budget->held + budget->condemned;
    pthread_mutex_unlock(&budget->lock);
    return held;
}

size_t memory_budget_peak(struct memory_budget *budget)
{
    size_t peak;

    pthread_mutex_lock(&budget->lock);
    peak = budget->peak;
    budget->peak = budget->held + budget->condemned;
    pthread_mutex_unlock(&budget->lock);
    return peak;
}

static size_t list_of(size_t weight)
{
    size_t list = 0;

    while (list != MEMORY_WEIGHTS - 1 && weight > (size_t)1024 << list)
        ++list;
    return list;
}

static struct memory_piece *heaviest(struct memory_budget *budget)
{
    size_t list = MEMORY_WEIGHTS - 1;

    while (list != 0 && budget->by_weight[list] == NULL)
        --list;
    return budget->by_weight[list];
}

static void unlist(struct memory_budget *budget, struct memory_piece *piece)
{
    if (piece->bytes == 0)
        return;
    DL_DELETE(budget->by_weight[piece->list], piece);
    budget->held -= piece->bytes;
}

static void condemn(struct memory_budget *budget, struct memory_piece *piece)
{
    unlist(budget, piece);
    budget->condemned += piece->bytes;
    piece->condemned = true;
    piece->taken = false;
    DL_APPEND(piece->holder->condemned, piece);
    atomic_store_explicit(&piece->holder->any, true, memory_order_relaxed);
}

static void keep_limit(struct memory_budget *budget, struct memory_piece *grown)
{
    while (budget->held > budget->limit)
        condemn(budget, heaviest(budget));
    if (!grown->condemned && budget->held + budget->condemned > 2 * budget->limit)
        condemn(budget, grown);
}

/* A condemned piece counts with its old size until it is released. */
static void absolve(struct memory_budget *budget, struct memory_piece *piece)
{
    if (!piece->taken)
        DL_DELETE(piece->holder->condemned, piece);
    budget->condemned -= piece->bytes;
    piece->condemned = false;
    piece->bytes = 0;
}

static void set(struct memory_budget *budget, struct memory_piece *piece, size_t bytes, size_t list)
{
    bool grows = bytes > piece->bytes;

    unlist(budget, piece);
    piece->bytes = bytes;
    piece->list = list;
    if (bytes == 0)
        return;
    DL_APPEND(budget->by_weight[list], piece);
    budget->held += bytes;
    if (grows)
        keep_limit(budget, piece);
    if (budget->held + budget->condemned > budget->peak)
        budget->peak = budget->held + budget->condemned;
}

void memory_budget_hold(struct memory_piece *piece, size_t bytes, size_t weight)
{
    struct memory_budget *budget = piece->holder->budget;
    size_t list = list_of(weight);

    if (bytes == piece->bytes && (bytes == 0 || list == piece->list)) /* ours alone to write */
        return;
    pthread_mutex_lock(&budget->lock);
    if (!piece->condemned)
        set(budget, piece, bytes, list);
    else if (bytes == 0)
        absolve(budget, piece);
    pthread_mutex_unlock(&budget->lock);
}

struct memory_piece *memory_budget_take_condemned(struct memory_holder *holder)
{
    struct memory_piece *piece;

    if (!atomic_load_explicit(&holder->any, memory_order_relaxed))
        return NULL;
    pthread_mutex_lock(&holder->budget->lock);
    piece = holder->condemned;
    if (piece != NULL) {
        DL_DELETE(holder->condemned, piece);
        piece->taken = true;
    } else {
        atomic_store_explicit(&holder->any, false, memory_order_relaxed);
    }
    pthread_mutex_unlock(&holder->budget->lock);
    return piece;
}
