/* The part of a call that runs on the thread with the connection: the caller's record, then the
 * operation, in a transaction if it changes something.
 */
#ifndef AUTH_ENDPOINT_ADMIN_CALL_STORE_H
#define AUTH_ENDPOINT_ADMIN_CALL_STORE_H

#include <libpq-fe.h>

#include "auth/endpoint/admin/call.h"

/* Sets the answer of `call`, its refusal or its failure. `connection` is NULL when PostgreSQL is
 * away. */
void call_store_run(struct call *call, PGconn *connection);

#endif
