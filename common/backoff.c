#include "common/backoff.h"

#include <stdlib.h>

uint64_t backoff_pause_ms(struct backoff *backoff)
{
    uint64_t pause_ms = backoff->next_ms != 0 ? backoff->next_ms : backoff->min_ms;

    backoff->next_ms = pause_ms * 2 < backoff->max_ms ? pause_ms * 2 : backoff->max_ms;
    return pause_ms / 2 + arc4random_uniform((uint32_t)pause_ms / 2 + 1) + 1;
}
