#include "common/http/access_log.h"

#include <string.h>

#include "common/clock.h"
#include "common/http/connection.h"
#include "common/http/peer.h"
#include "common/http/reply.h"
#include "common/http/request.h"
#include "common/log.h"

#define MAX_METHOD     16
#define MAX_FIELDS     (9 + ACCESS_NOTE_FIELDS)
#define MAX_REQUEST_ID 128
#define TRACE_ID       32 /* hex digits */

static bool consists_of(struct slice text, const char *allowed)
{
    size_t i = 0;

    while (i != text.length && text.bytes[i] != '\0' && strchr(allowed, text.bytes[i]) != NULL)
        ++i;
    return i == text.length;
}

static bool is_request_id(const h2o_req_t *req, struct slice id)
{
    return id.length != 0 && id.length <= MAX_REQUEST_ID &&
           !http_loop_of(req)->http->is_secret(id) &&
           consists_of(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:/+=");
}

/* W3C Trace Context 3.2: version-trace_id-parent_id-flags. */
static struct slice trace_id_of(const h2o_req_t *req)
{
    struct slice parent = request_header(req, SLICE("traceparent")), id;

    if (parent.length < 55 || parent.bytes[2] != '-' || parent.bytes[3 + TRACE_ID] != '-')
        return SLICE("");
    id = (struct slice){parent.bytes + 3, TRACE_ID};
    return consists_of(id, "0123456789abcdef") && !consists_of(id, "0") ? id : SLICE("");
}

static struct slice make_request_id(h2o_req_t *req)
{
    char *text = h2o_mem_alloc_pool(&req->pool, UUID_TEXT_LENGTH);
    struct uuid id;

    if (!uuid_v7_make(&http_loop_of(req)->uuids, clock_unix_ms(), &id))
        return SLICE("");
    uuid_format(&id, text);
    return (struct slice){text, UUID_TEXT_LENGTH};
}

void access_log_begin(h2o_req_t *req)
{
    struct access_note *note = &connection_of(req)->note;
    struct slice id = request_header(req, SLICE("x-request-id"));

    if (is_request_id(req, id))
        note->request_id = request_keep(req, id);
    else if (access_log_is_on(req) || http_loop_of(req)->http->names_requests)
        note->request_id = make_request_id(req);
    if (note->request_id.length != 0)
        REPLY_HEADER(req, "x-request-id", "X-Request-Id", note->request_id);
    if (access_log_is_on(req))
        note->trace_id = request_keep(req, trace_id_of(req));
}

void access_log_add(h2o_req_t *req, const char *name, struct slice value)
{
    struct access_field *fields = connection_of(req)->note.fields;

    if (!access_log_is_on(req))
        return;
    for (size_t i = 0; i != ACCESS_NOTE_FIELDS; ++i) {
        if (fields[i].name == NULL) {
            fields[i] = (struct access_field){name, request_keep(req, value)};
            return;
        }
    }
}

void access_log_remove(h2o_req_t *req, const char *name)
{
    struct access_field *fields = connection_of(req)->note.fields;

    for (size_t i = 0; i != ACCESS_NOTE_FIELDS; ++i) {
        if (fields[i].name != NULL && strcmp(fields[i].name, name) == 0)
            fields[i].name = NULL;
    }
}

static void write_line(const h2o_req_t *req, const struct access_note *note, struct slice path,
                       uint64_t duration_us)
{
    struct network_address peer = peer_of(req);
    char peer_text[NETWORK_TEXT_MAX];
    struct slice method = {req->method.base, req->method.len};
    struct log_field fields[MAX_FIELDS];
    size_t count = 0;

    method.length = method.length < MAX_METHOD ? method.length : MAX_METHOD;
    fields[count++] = log_slice("method", method);
    /* A client may have put a secret in the path. */
    fields[count++] =
        log_slice("path", http_loop_of(req)->http->is_secret(path) ? SLICE("other") : path);
    fields[count++] = log_int("status", req->res.status);
    fields[count++] = log_int("duration_us", (int64_t)duration_us);
    fields[count++] = log_int("bytes", (int64_t)req->bytes_sent);
    fields[count++] = log_str("peer", network_address_format(&peer, peer_text));
    if (note->request_id.length != 0)
        fields[count++] = log_slice("request_id", note->request_id);
    if (note->trace_id.length != 0)
        fields[count++] = log_slice("trace_id", note->trace_id);
    if (note->error != NULL)
        fields[count++] = log_str("error", note->error);
    for (size_t i = 0; i != ACCESS_NOTE_FIELDS; ++i) {
        if (note->fields[i].name != NULL && note->fields[i].value.length != 0)
            fields[count++] = log_slice(note->fields[i].name, note->fields[i].value);
    }
    log_always("http.request", fields, count);
}

void access_log_write(h2o_req_t *req, struct slice path, uint64_t duration_us)
{
    struct access_note *note = &connection_of(req)->note;
    enum access_log which = http_loop_of(req)->http->access_log;
    bool failed = req->res.status < 200 || req->res.status >= 400;

    if (which == ACCESS_LOG_ALL || (which == ACCESS_LOG_ERRORS && failed))
        write_line(req, note, path, duration_us);
    *note = (struct access_note){0}; /* the texts are in this request's pool */
}
