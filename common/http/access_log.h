/* One line for each finished request, at any log level, and the id to find it by: the X-Request-Id
 * of the request, or a generated one when the log is on. The answer repeats it.
 */
#ifndef COMMON_HTTP_ACCESS_LOG_H
#define COMMON_HTTP_ACCESS_LOG_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/http/http.h"
#include "common/slice.h"

static inline bool access_log_is_on(const h2o_req_t *req)
{
    return http_loop_of(req)->http->access_log != ACCESS_LOG_OFF;
}

/* A request is complete: adds its id to the answer. */
void access_log_begin(h2o_req_t *req);

/* Adds a field to the request's line, at most ACCESS_NOTE_FIELDS, in this order; copies the value.
 * `name` is a constant. Does nothing for a value that may be a secret, or while the log is off. */
void access_log_add(h2o_req_t *req, const char *name, struct slice value);

/* Removes the field again. */
void access_log_remove(h2o_req_t *req, const char *name);

/* The request is finished. `path` is the one that was routed. */
void access_log_write(h2o_req_t *req, struct slice path, uint64_t duration_us);

#endif
