/* The operations on what the process itself knows, and on its caches. */
#ifndef AUTH_ENDPOINT_ADMIN_LOCAL_H
#define AUTH_ENDPOINT_ADMIN_LOCAL_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation local_session_operations[];
extern const struct call_operation local_cache_operations[];
extern const struct call_operation local_invalidate_operations[];
extern const struct call_operation local_keys_operations[];

#endif
