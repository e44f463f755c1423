/* POST /admin/v1/apply: configuration as code. */
#ifndef AUTH_ENDPOINT_ADMIN_APPLY_CALL_H
#define AUTH_ENDPOINT_ADMIN_APPLY_CALL_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation apply_call_operations[];

#endif
