/* The operations on tiers. */
#ifndef AUTH_ENDPOINT_ADMIN_TIERS_H
#define AUTH_ENDPOINT_ADMIN_TIERS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation tiers_operations[];
extern const struct call_operation tiers_one_operations[];

#endif
