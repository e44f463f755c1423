/* The operations on organizations. */
#ifndef AUTH_ENDPOINT_ADMIN_ORGANIZATIONS_H
#define AUTH_ENDPOINT_ADMIN_ORGANIZATIONS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation organizations_operations[];
extern const struct call_operation organizations_one_operations[];

#endif
