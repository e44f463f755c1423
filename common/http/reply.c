#include "common/http/reply.h"

#include <string.h>
#include <utlist.h>

#include "common/http/connection.h"
#include "common/http/request.h"

#define KEPT_BODY 16384 /* bytes; a larger request body ends its connection */

struct answer {
    struct answer *prev, *next;
    struct http_loop *loop; /* NULL: not in its list */
    h2o_req_t *req;
    h2o_iovec_t body;
};

const char *reply_reason(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 201:
        return "Created";
    case 204:
        return "No Content";
    case 304:
        return "Not Modified";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 406:
        return "Not Acceptable";
    case 409:
        return "Conflict";
    case 410:
        return "Gone";
    case 412:
        return "Precondition Failed";
    case 413:
        return "Content Too Large";
    case 415:
        return "Unsupported Media Type";
    case 422:
        return "Unprocessable Content";
    case 428:
        return "Precondition Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        return "Internal Server Error";
    }
}

void reply_header(h2o_req_t *req, h2o_iovec_t *name, const char *shown, struct slice value)
{
    h2o_headers_t *headers = &req->res.headers;

    h2o_vector_reserve(&req->pool, headers, headers->size + 1);
    headers->entries[headers->size++] =
        (h2o_header_t){name, shown, {(char *)value.bytes, value.length}};
}

void reply_no_store(h2o_req_t *req)
{
    REPLY_HEADER(req, "cache-control", "Cache-Control", SLICE("no-store"));
    REPLY_HEADER(req, "pragma", "Pragma", SLICE("no-cache"));
}

/* The request may be gone before its answer was sent. */
static void on_dispose(void *data)
{
    struct answer *answer = data;

    if (answer->loop != NULL)
        DL_DELETE(answer->loop->answers, answer);
}

void reply(h2o_req_t *req, int status, struct slice content_type, struct slice body)
{
    struct http_loop *loop = http_loop_of(req);
    struct answer *answer = h2o_mem_alloc_shared(&req->pool, sizeof(*answer), on_dispose);

    if (loop->draining)
        req->http1_is_persistent = 0;
    req->res.status = status;
    req->res.reason = reply_reason(status);
    /* RFC 9110 8.6: a 204 has no Content-Length; in a 304 it would have to be that of the 200. */
    req->res.content_length = status != 204 && status != 304 ? body.length : SIZE_MAX;
    if (content_type.length != 0)
        REPLY_HEADER(req, "content-type", "Content-Type", content_type);
    *answer = (struct answer){.loop = loop, .req = req, .body = {(char *)body.bytes, body.length}};
    DL_APPEND(loop->answers, answer);
}

void reply_json(h2o_req_t *req, int status, struct slice body)
{
    reply(req, status, SLICE("application/json"), body);
}

void reply_error(h2o_req_t *req, int status, const char *error, const char *description)
{
    size_t size = strlen(error) + strlen(description) + 48;
    char *body = h2o_mem_alloc_pool(&req->pool, size);
    int length =
        snprintf(body, size, "{\"error\":\"%s\",\"error_description\":\"%s\"}", error, description);

    connection_of(req)->note.error = error;
    reply_no_store(req);
    reply_json(req, status, (struct slice){body, (size_t)length});
}

void reply_take_back(h2o_req_t *req, size_t kept_headers)
{
    struct http_loop *loop = http_loop_of(req);
    struct answer *answer;

    DL_FOREACH (loop->answers, answer) {
        if (answer->req == req)
            break;
    }
    if (answer == NULL)
        return;
    DL_DELETE(loop->answers, answer);
    answer->loop = NULL;
    req->res.headers.size = kept_headers;
}

static void send_answer(struct answer *answer)
{
    static h2o_generator_t generator;
    h2o_req_t *req = answer->req;
    bool bodiless = answer->body.len == 0 || request_has_method(req, SLICE("HEAD"));

    if (req->entity.len > KEPT_BODY) /* h2o would keep the large buffer */
        req->http1_is_persistent = 0;
    answer->loop = NULL;
    h2o_start_response(req, &generator);
    h2o_send(req, &answer->body, bodiless ? 0 : 1, H2O_SEND_STATE_FINAL);
    connection_answer(connection_of(req));
}

bool reply_send_all(struct http_loop *loop)
{
    bool any = loop->answers != NULL;

    while (loop->answers != NULL) {
        struct answer *answer = loop->answers;

        DL_DELETE(loop->answers, answer);
        send_answer(answer);
    }
    return any;
}

static void on_stream_sent(h2o_generator_t *generator, h2o_req_t *req)
{
    struct reply_stream *stream = H2O_STRUCT_FROM_MEMBER(struct reply_stream, generator, generator);

    (void)req;
    stream->on_sent(stream);
}

void reply_stream_begin(struct reply_stream *stream, h2o_req_t *req, struct slice content_type)
{
    stream->req = req;
    stream->generator = (h2o_generator_t){.proceed = on_stream_sent};
    if (http_loop_of(req)->draining)
        req->http1_is_persistent = 0;
    req->res.status = 200;
    req->res.reason = reply_reason(200);
    req->res.content_length = SIZE_MAX;
    REPLY_HEADER(req, "content-type", "Content-Type", content_type);
    h2o_start_response(req, &stream->generator);
}

void reply_stream_send(struct reply_stream *stream, struct slice part, bool is_last)
{
    h2o_req_t *req = stream->req;
    h2o_iovec_t bytes = {(char *)part.bytes, part.length};

    h2o_send(req, &bytes, part.length != 0 ? 1 : 0,
             is_last ? H2O_SEND_STATE_FINAL : H2O_SEND_STATE_IN_PROGRESS);
    if (is_last)
        connection_answer(connection_of(req));
    else
        connection_continue(connection_of(req));
}

void reply_stream_abort(struct reply_stream *stream)
{
    connection_shut(connection_of(stream->req), "the rest of the answer cannot be had");
}
