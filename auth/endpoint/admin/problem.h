/* Errors of the administration: application/problem+json (RFC 9457). */
#ifndef AUTH_ENDPOINT_ADMIN_PROBLEM_H
#define AUTH_ENDPOINT_ADMIN_PROBLEM_H

#include <h2o.h>

/* Answers with a problem, and wipes the request. `detail` says what to do; `pointer` (RFC 6901) the
 * value at fault in the body, NULL: none. Both are copied. */
void problem_reply(h2o_req_t *req, int status, const char *pointer, const char *detail);

/* The same for the router. */
void problem_refuse(h2o_req_t *req, int status, const char *description);

#endif
