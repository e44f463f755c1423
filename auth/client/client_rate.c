#include "auth/client/client_rate.h"

#include <stdlib.h>

#include "common/siphash.h"

bool client_rate_open(struct client_rate *rate, uint32_t per_second)
{
    rate->per_second = per_second;
    rate->slots = calloc(CLIENT_RATE_SLOTS, sizeof(*rate->slots));
    return rate->slots != NULL;
}

void client_rate_close(struct client_rate *rate)
{
    free(rate->slots);
}

bool client_rate_take(struct client_rate *rate, struct slice id, uint64_t now_ms)
{
    _Atomic uint64_t *slot = rate->slots + siphash_seeded(id.bytes, id.length) % CLIENT_RATE_SLOTS;
    uint64_t second = now_ms / 1000 << 32;
    uint64_t before = atomic_load_explicit(slot, memory_order_relaxed), after;

    do {
        /* Another thread may be in the next second already: its count then stands. */
        after = (before >= second ? before : second) + 1;
        if ((uint32_t)after > rate->per_second)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(slot, &before, after, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}
