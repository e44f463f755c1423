/* The handler of the administration: from a request to an operation, and from its result to the
 * answer.
 *
 * A route's data is an array of operations, one for each method. The caller's token is verified on
 * the loop; its record is looked up, and the operation runs, on the thread that has the connection
 * (admin.h). A change is one transaction with the answer that Idempotency-Key may ask for again.
 */
#ifndef AUTH_ENDPOINT_ADMIN_CALL_HANDLE_H
#define AUTH_ENDPOINT_ADMIN_CALL_HANDLE_H

#include <h2o.h>

void call_handle(h2o_req_t *req);

#endif
