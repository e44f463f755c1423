/* The only place that sends. An answer is made at once and sent at the end of the pass, so that
 * everything it reports has been recorded by then; each connection gets at most one answer per
 * pass.
 */
#ifndef COMMON_HTTP_REPLY_H
#define COMMON_HTTP_REPLY_H

#include <h2o.h>
#include <stdbool.h>

#include "common/attributes.h"
#include "common/http/http.h"
#include "common/slice.h"

/* Adds a header. Both names must be constants: `name` in lower case, `shown` as it is sent. The
 * value must live as long as the request. */
#define REPLY_HEADER(req, name, shown, value)                                                      \
    do {                                                                                           \
        static h2o_iovec_t reply_header_name = {H2O_STRLIT(name)};                                 \
        reply_header((req), &reply_header_name, (shown), (value));                                 \
    } while (0)

void reply_header(h2o_req_t *req, h2o_iovec_t *name, const char *shown, struct slice value);

/* `body` must live as long as the request; it is not sent for HEAD. */
void reply(h2o_req_t *req, int status, struct slice content_type, struct slice body);

void reply_json(h2o_req_t *req, int status, struct slice body);

/* {"error":…,"error_description":…} with no-store. The description says what to do, and is a
 * constant: it never repeats input. */
void reply_error(h2o_req_t *req, int status, const char *error, const char *description);

/* RFC 6749 5.1: caches must not store it. */
void reply_no_store(h2o_req_t *req);

/* Discards this pass's answer to `req`, so that the caller can make another. The first
 * `kept_headers` headers stay. */
void reply_take_back(h2o_req_t *req, size_t kept_headers);

/* The reason phrase of a status, such as `Not Found`. */
const char *reply_reason(int status);

/* An answer in parts, each of which is sent at once. Zero it and set `on_sent`; it lives as long as
 * the request. Call these within the loop's run only. */
struct reply_stream {
    h2o_generator_t generator;
    h2o_req_t *req;
    void (*on_sent)(struct reply_stream *); /* a part has left: send the next */
};

/* Sends the head, with status 200. */
void reply_stream_begin(struct reply_stream *stream, h2o_req_t *req, struct slice content_type);

/* `part` must stay until `on_sent`, or until the request is gone. */
void reply_stream_send(struct reply_stream *stream, struct slice part, bool is_last);

/* Closes the connection, so that nobody takes what was sent for the whole. */
void reply_stream_abort(struct reply_stream *stream);

/* Sends the answers of this pass. True when there were any: then the loop must run again without
 * waiting, since h2o queues the completion of a write made outside its run and would sleep before
 * handling it. */
bool reply_send_all(struct http_loop *loop);

#endif
