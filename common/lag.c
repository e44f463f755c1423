/* The turns of a loop: see lag.h. */
#include "common/lag.h"

_Thread_local uint64_t lag_since_us;
