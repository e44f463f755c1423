/* The body of a request to an endpoint of OAuth: a form of at most 16 KiB. */
#ifndef AUTH_ENDPOINT_OAUTH_FORM_H
#define AUTH_ENDPOINT_OAUTH_FORM_H

#include <h2o.h>
#include <stdbool.h>

#include "auth/oauth_error.h"
#include "common/attributes.h"
#include "common/http/form.h"

#define OAUTH_FORM_MAX 16384 /* bytes */

/* Reads the body; `form` points into it. False when that cannot be: then it is answered, and what
 * was sent is wiped. `when_empty` says what to send. */
MUST_USE bool oauth_form_read(h2o_req_t *req, const char *when_empty, struct form *form);

/* Refuses a form for what it asks, as oauth_form_read does. */
void oauth_form_refuse(h2o_req_t *req, enum oauth_error error, const char *description);

#endif
