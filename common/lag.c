#include "common/lag.h"

_Thread_local uint64_t lag_since_us;
