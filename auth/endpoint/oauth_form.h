/* The body of a request to an OAuth endpoint: a form of at most 16 KiB. */
#ifndef AUTH_ENDPOINT_OAUTH_FORM_H
#define AUTH_ENDPOINT_OAUTH_FORM_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/http/form.h"

#define OAUTH_FORM_MAX 16384 /* bytes */

/* Parses the body; `form` points into it. On failure answers the request and returns false.
 * `when_empty` is the error description for an empty body. */
MUST_USE bool oauth_form_read(h2o_req_t *req, const char *when_empty, struct form *form);

#endif
