/* The operations on the secrets of a client. */
#ifndef AUTH_ENDPOINT_ADMIN_SECRETS_H
#define AUTH_ENDPOINT_ADMIN_SECRETS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation secrets_operations[];
extern const struct call_operation secrets_one_operations[];

#endif
