/* The operations on issued tokens. */
#ifndef AUTH_ENDPOINT_ADMIN_TOKENS_H
#define AUTH_ENDPOINT_ADMIN_TOKENS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation tokens_of_client_operations[];
extern const struct call_operation tokens_one_operations[];
extern const struct call_operation tokens_revoke_operations[];

#endif
