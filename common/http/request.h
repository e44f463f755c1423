/* Reads the headers and body of a request, and wipes them. */
#ifndef COMMON_HTTP_REQUEST_H
#define COMMON_HTTP_REQUEST_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

/* The value of the first header of this name, given in lower case; empty when there is none. */
struct slice request_header(const h2o_req_t *req, struct slice name);

/* The value of a header that may occur at most once; empty when there is none. False when it is
 * repeated. */
MUST_USE bool request_single_header(const h2o_req_t *req, const h2o_token_t *name,
                                    struct slice *value);

MUST_USE bool request_has_method(const h2o_req_t *req, struct slice method);

/* Whether the only Content-Type is `type`, in any case and with any parameters. */
MUST_USE bool request_has_type(const h2o_req_t *req, struct slice type);

/* Copies text into the request's pool, which lives as long as the request. */
struct slice request_keep(h2o_req_t *req, struct slice text);

/* Wipes the body and every Authorization header: a second one is refused, but may be valid. */
void request_wipe(h2o_req_t *req);
void request_wipe_authorization(h2o_req_t *req);

#endif
