/* The operations on what the database records: the audit log and the running servers. */
#ifndef AUTH_ENDPOINT_ADMIN_RECORDS_H
#define AUTH_ENDPOINT_ADMIN_RECORDS_H

#include "auth/endpoint/admin/call.h"

extern const struct call_operation records_audit_operations[];
extern const struct call_operation records_instances_operations[];

#endif
