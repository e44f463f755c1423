/* Reads what a request to the administration says, apart from who sends it. */
#ifndef AUTH_ENDPOINT_ADMIN_CALL_READ_H
#define AUTH_ENDPOINT_ADMIN_CALL_READ_H

#include <h2o.h>
#include <stdbool.h>

#include "auth/endpoint/admin/call.h"
#include "common/attributes.h"

/* What is wrong with a request. */
struct call_complaint {
    int status;
    char pointer[8]; /* the whole body is at fault: an empty text; "-": the body is not */
    char detail[256];
};

/* Whether the path is as it is routed: no part of it is `.` or `..`, or holds a slash or NUL. */
MUST_USE bool call_read_path_is_plain(const h2o_req_t *req);

/* Fills the request's part of `call`, whose operation is set. False when it is refused. */
MUST_USE bool call_read(struct call *call, h2o_req_t *req, struct call_complaint *complaint);

#endif
