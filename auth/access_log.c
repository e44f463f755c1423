/* The access log: see access_log.h. */
#include "auth/access_log.h"

#include "auth/connections.h"
#include "auth/peer.h"
#include "auth/secret.h"
#include "auth/worker.h"
#include "common/log.h"

#define MAX_METHOD 16
#define MAX_FIELDS 8

static enum access_log which(const h2o_req_t *req)
{
    return (enum access_log)worker_of(req)->process->settings.access_log;
}

void access_log_client(h2o_req_t *req, struct slice client_id)
{
    /* A copy, since the record may go before the request does. */
    if (which(req) != ACCESS_LOG_OFF)
        connection_of(req)->note.client_id =
            (struct slice){h2o_strdup(&req->pool, client_id.bytes, client_id.length).base,
                           client_id.length};
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
