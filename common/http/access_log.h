/* One line for each finished request (JOTD_ACCESS_LOG), whatever the log's level is, and the id by
 * which it is found there: the X-Request-Id of the request, or one that is made where there is a
 * log to find it in. The answer repeats it. */
#ifndef COMMON_HTTP_ACCESS_LOG_H
#define COMMON_HTTP_ACCESS_LOG_H

#include <h2o.h>
#include <stdint.h>

#include "common/slice.h"
#include "common/uuid.h"

/* JOTD_ACCESS_LOG */
enum access_log {
    ACCESS_LOG_OFF,
    ACCESS_LOG_ERRORS, /* statuses from 400 on, and requests without an answer */
    ACCESS_LOG_ALL,
};

/* What is known of the request at hand; part of its connection. */
struct access_note {
    struct slice request_id; /* this and the next ones in the request's pool; empty: none */
    struct slice trace_id;   /* of W3C's traceparent */
    struct slice client_id;  /* empty: not authenticated */
    struct slice scope;      /* that was asked for */
    const char *error;       /* a constant; NULL: none */
    char jti[UUID_TEXT_LENGTH + 1];
};

/* A request is whole. Adds its id to the answer. */
void access_log_begin(h2o_req_t *req);

/* It asks for this scope. */
void access_log_scope(h2o_req_t *req, struct slice scope);

/* It is refused for this reason, a constant. */
void access_log_error(h2o_req_t *req, const char *error);

/* The request's client is authenticated. */
void access_log_client(h2o_req_t *req, struct slice client_id);

/* It is answered with this token; NULL: not after all. */
void access_log_token(h2o_req_t *req, const struct uuid *jti);

/* It is finished. `path` is the one that was routed. */
void access_log_request(h2o_req_t *req, struct slice path, uint64_t duration_us);

#endif
