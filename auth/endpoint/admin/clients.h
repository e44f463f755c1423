/* The operations on clients. */
#ifndef AUTH_ENDPOINT_ADMIN_CLIENTS_H
#define AUTH_ENDPOINT_ADMIN_CLIENTS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation clients_operations[];
extern const struct call_operation clients_one_operations[];

#endif
