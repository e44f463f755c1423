/* The access log: see access_log.h. */
#include "common/http/access_log.h"

#include <string.h>

#include "auth/client/secret.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/connections.h"
#include "common/http/peer.h"
#include "common/http/reply.h"
#include "common/http/request.h"
#include "common/log.h"

#define MAX_METHOD     16
#define MAX_FIELDS     12
#define MAX_REQUEST_ID 128
#define TRACE_ID       32 /* hex digits */

static enum access_log which(const h2o_req_t *req)
{
    return (enum access_log)worker_of(req)->process->settings.access_log;
}

static struct slice kept(h2o_req_t *req, struct slice text)
{
    return (struct slice){h2o_strdup(&req->pool, text.bytes, text.length).base, text.length};
}

static bool consists_of(struct slice text, const char *allowed)
{
    size_t i = 0;

    while (i != text.length && text.bytes[i] != '\0' && strchr(allowed, text.bytes[i]) != NULL)
        ++i;
    return i == text.length;
}

static bool is_request_id(struct slice id)
{
    return id.length != 0 && id.length <= MAX_REQUEST_ID && !secret_is_suspected(id) &&
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

    if (!uuid_v7_make(&worker_of(req)->uuids, clock_unix_ms(), &id))
        return SLICE("");
    uuid_format(&id, text);
    return (struct slice){text, UUID_TEXT_LENGTH};
}

void access_log_begin(h2o_req_t *req)
{
    struct access_note *note = &connection_of(req)->note;
    struct slice id = request_header(req, SLICE("x-request-id"));

    if (is_request_id(id))
        note->request_id = kept(req, id);
    else if (which(req) != ACCESS_LOG_OFF)
        note->request_id = make_request_id(req);
    if (note->request_id.length != 0)
        REPLY_HEADER(req, "x-request-id", "X-Request-Id", note->request_id);
    if (which(req) != ACCESS_LOG_OFF)
        note->trace_id = kept(req, trace_id_of(req));
}

/* Copies, since what they are views of may go before the request does. */
void access_log_client(h2o_req_t *req, struct slice client_id)
{
    if (which(req) != ACCESS_LOG_OFF)
        connection_of(req)->note.client_id = kept(req, client_id);
}

void access_log_scope(h2o_req_t *req, struct slice scope)
{
    if (which(req) != ACCESS_LOG_OFF && !secret_is_suspected(scope))
        connection_of(req)->note.scope = kept(req, scope);
}

void access_log_error(h2o_req_t *req, const char *error)
{
    connection_of(req)->note.error = error;
}

void access_log_token(h2o_req_t *req, const struct uuid *jti)
{
    char *text = connection_of(req)->note.jti;

    if (jti != NULL && which(req) == ACCESS_LOG_ALL) {
        uuid_format(jti, text);
        text[UUID_TEXT_LENGTH] = '\0';
    } else {
        text[0] = '\0';
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
    /* Who sends a secret to a path that is none has shown enough of it. */
    fields[count++] = log_slice("path", secret_is_suspected(path) ? SLICE("other") : path);
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
    if (note->scope.length != 0)
        fields[count++] = log_slice("scope", note->scope);
    if (note->client_id.length != 0)
        fields[count++] = log_slice("client", note->client_id);
    if (note->jti[0] != '\0')
        fields[count++] = log_str("jti", note->jti);
    log_always("http.request", fields, count);
}

void access_log_request(h2o_req_t *req, struct slice path, uint64_t duration_us)
{
    struct access_note *note = &connection_of(req)->note;
    bool failed = req->res.status < 200 || req->res.status >= 400;

    if (which(req) == ACCESS_LOG_ALL || (which(req) == ACCESS_LOG_ERRORS && failed))
        write_line(req, note, path, duration_us);
    *note = (struct access_note){0}; /* the next request has another pool */
}
