/* Functions are in the order in which a request reaches them: its token, its head and body, the
 * operation, the answer.
 */
#include "auth/endpoint/admin/call_handle.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "auth/client/scope.h"
#include "auth/endpoint/admin/call_read.h"
#include "auth/endpoint/admin/call_store.h"
#include "auth/endpoint/admin/problem.h"
#include "common/clock.h"
#include "common/http/connection.h"
#include "common/http/reply.h"
#include "common/http/request.h"
#include "common/http/router.h"

/* The request's side of a call; it lives as long as the request. */
struct call_request {
    h2o_req_t *req;
    struct admin *admin;
    const struct call_operation *operation;
    struct verification_request verification;
    struct call *call; /* NULL: none yet */
    struct reply_stream stream;
    struct buffer lines; /* of the page that is sent */
    bool has_begun;      /* the answer, in parts */
};

static void on_verified(struct verification_request *verification, enum access_token_state state,
                        struct access_token *token);
static void on_gone(void *data);

/* The token */

static void challenge(h2o_req_t *req, int status, const char *challenge, const char *detail)
{
    REPLY_HEADER(req, "www-authenticate", "WWW-Authenticate", slice_of(challenge));
    problem_reply(req, status, NULL, detail);
}

#define INVALID_TOKEN "Bearer realm=\"jotd\", error=\"invalid_token\""

/* RFC 6750 2.1 and 3. */
static bool take_token(h2o_req_t *req, struct slice *token)
{
    static const char scheme[] = "Bearer ";
    struct slice header;

    if (!request_single_header(req, H2O_TOKEN_AUTHORIZATION, &header)) {
        challenge(req, 400, "Bearer realm=\"jotd\", error=\"invalid_request\"",
                  "Send one Authorization header.");
        return false;
    }
    if (header.length <= strlen(scheme) || strncasecmp(header.bytes, scheme, strlen(scheme)) != 0) {
        challenge(req, 401, "Bearer realm=\"jotd\"",
                  "Send Authorization: Bearer and an access token whose audience is the "
                  "administration's (`jotd client create --admin` makes a client for it).");
        return false;
    }
    *token = slice_trim_end(
        (struct slice){header.bytes + strlen(scheme), header.length - strlen(scheme)}, ' ');
    return true;
}

static const struct call_operation *find_operation(h2o_req_t *req)
{
    const struct call_operation *operation = router_route(req)->data;
    struct slice method = {req->method.base, req->method.len};

    if (slice_equal(method, SLICE("HEAD")))
        method = SLICE("GET");
    while (operation->method != NULL && !slice_equal(method, slice_of(operation->method)))
        ++operation;
    return operation; /* the route takes no other methods */
}

void call_handle(h2o_req_t *req)
{
    struct call_request *request = h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_gone);

    *request = (struct call_request){.req = req,
                                     .admin = admin_of(req),
                                     .operation = find_operation(req),
                                     .verification.on_verified = on_verified};
    if (request->operation->method == NULL || !call_read_path_is_plain(req))
        problem_reply(req, 400, NULL,
                      "The path has a part that is . or .., or an encoded slash or NUL: send the "
                      "plain path.");
    else if (take_token(req, &request->verification.text))
        verification_begin(&request->admin->verification, &request->verification);
}

static const char *complaint_of(enum access_token_state state)
{
    switch (state) {
    case ACCESS_TOKEN_EXPIRED:
        return "The token has expired; get another.";
    case ACCESS_TOKEN_UNKNOWN_KEY:
        return "The token's key is not known here, or no longer.";
    case ACCESS_TOKEN_OTHER_ISSUER:
        return "The token is another issuer's.";
    case ACCESS_TOKEN_BAD_SIGNATURE:
        return "The token's signature is wrong.";
    default:
        return "This is not an access token of this server.";
    }
}

static const char *insufficient_scope(enum call_scope scope, const char **detail)
{
    switch (scope) {
    case CALL_ADMIN:
        *detail = "This needs a token with the scope jotd:admin.";
        return "Bearer realm=\"jotd\", error=\"insufficient_scope\", scope=\"jotd:admin\"";
    case CALL_WRITE:
        *detail = "This needs a token with the scope jotd:write.";
        return "Bearer realm=\"jotd\", error=\"insufficient_scope\", scope=\"jotd:write\"";
    default:
        *detail = "This needs a token with the scope jotd:read.";
        return "Bearer realm=\"jotd\", error=\"insufficient_scope\", scope=\"jotd:read\"";
    }
}

/* A token for several audiences could come from one of the others. */
static bool check_token(struct call_request *request, enum access_token_state state,
                        const struct access_token *token)
{
    const char *detail, *header;

    if (state == ACCESS_TOKEN_UNDECIDED)
        problem_reply(request->req, 503, NULL, "The server is stopping; try again.");
    else if (state != ACCESS_TOKEN_VALID)
        challenge(request->req, 401, INVALID_TOKEN, complaint_of(state));
    else if (!slice_equal(token->audiences, slice_of(request->admin->audience)))
        challenge(request->req, 401, INVALID_TOKEN,
                  "The token's audience is not the administration's, or not that alone.");
    else if (denylist_has(&request->admin->process->feed.denylist, &token->jti))
        challenge(request->req, 401, INVALID_TOKEN, "The token was revoked; get another.");
    else if (call_scope_of(token->scope) < request->operation->scope) {
        header = insufficient_scope(request->operation->scope, &detail);
        challenge(request->req, 403, header, detail);
    } else
        return true;
    return false;
}

/* The call */

static void free_call(struct admin_job *job)
{
    struct call *call = H2O_STRUCT_FROM_MEMBER(struct call, job, job);

    json_decref(call->body);
    json_decref(call->labels);
    json_decref(call->answer);
    free(call->path);
    free(call->query);
    free(call->page_after);
    OPENSSL_cleanse(call, sizeof(*call));
    free(call);
}

static void run_job(struct admin_job *job, PGconn *connection)
{
    call_store_run(H2O_STRUCT_FROM_MEMBER(struct call, job, job), connection);
}

static void on_done(struct admin_job *job);
static void on_late(struct admin_job *job, bool began);
static void answer(struct call *call);

static struct call *make_call(struct call_request *request, const struct access_token *token)
{
    struct call *call = calloc(1, sizeof(*call));
    struct slice id = connection_of(request->req)->note.request_id;

    if (call == NULL)
        return NULL;
    call->job.run = run_job;
    call->job.on_done = on_done;
    call->job.on_late = on_late;
    call->job.free = free_call;
    call->request = request;
    call->operation = request->operation;
    call->admin = request->admin;
    call->jti = token->jti;
    call->issued_ms = uuid_v7_unix_ms(&token->jti);
    call->expires_at = token->expires_at;
    call->token_scope = call->scope = call_scope_of(token->scope);
    call->guard.governs = call->scope == CALL_ADMIN;
    call->guard.admin_audience = request->admin->audience;
    memcpy(call->client_id, token->client_id.bytes, token->client_id.length);
    if (id.length <= CALL_REQUEST_ID_MAX)
        memcpy(call->request_id, id.bytes, id.length);
    return call;
}

static void run_local(struct call *call)
{
    call->has_failed = !call->operation->run(call, NULL, &call->failure);
    answer(call);
}

static void on_verified(struct verification_request *verification, enum access_token_state state,
                        struct access_token *token)
{
    struct call_request *request =
        H2O_STRUCT_FROM_MEMBER(struct call_request, verification, verification);
    h2o_req_t *req = request->req;
    struct call_complaint complaint;
    struct call *call;

    if (!check_token(request, state, token))
        return;
    request->call = call = make_call(request, token);
    if (call == NULL) {
        problem_reply(req, 503, NULL, "Out of memory; try again.");
    } else if (!call_read(call, req, &complaint)) {
        problem_reply(req, complaint.status,
                      strcmp(complaint.pointer, "-") == 0 ? NULL : complaint.pointer,
                      complaint.detail);
        request->call = NULL;
        free_call(&call->job);
    } else if (call->operation->is_local && admin_knows_caller(call->admin, &call->jti)) {
        request_wipe(req);
        run_local(call);
    } else {
        request_wipe(req);
        admin_submit(call->admin, &call->job);
    }
}

/* A call whose job runs is freed by the job's end. */
static void on_gone(void *data)
{
    struct call_request *request = data;

    verification_leave(&request->verification);
    buffer_dispose(&request->lines);
    if (request->call == NULL)
        return;
    request->call->request = NULL;
    admin_withdraw(&request->call->job);
}

static void on_done(struct admin_job *job)
{
    struct call *call = H2O_STRUCT_FROM_MEMBER(struct call, job, job);

    if (!call->has_failed && call->refusal == 0)
        admin_note_caller(call->admin, &call->jti);
    if (!call->has_failed && call->refusal == 0 && call->operation->is_local)
        run_local(call);
    else
        answer(call);
}

static void on_late(struct admin_job *job, bool began)
{
    struct call *call = H2O_STRUCT_FROM_MEMBER(struct call, job, job);
    struct call_request *request = call->request;
    bool changes = strcmp(call->operation->method, "GET") != 0;

    request->call = NULL;
    if (request->has_begun)
        reply_stream_abort(&request->stream);
    else
        problem_reply(request->req, 503, NULL,
                      began && changes
                          ? "PostgreSQL does not answer; the change may have been made, or may "
                            "still be: look before you repeat it."
                          : "PostgreSQL does not answer; nothing was done; try again later.");
}

/* The answer */

static int status_of(enum store_kind kind, const char *pointer)
{
    switch (kind) {
    case STORE_INVALID:
        return 400;
    case STORE_NOT_FOUND:
        return *pointer == '\0' ? 404 : 400;
    case STORE_CONFLICT:
        return 409;
    case STORE_CHANGED:
        return 412;
    case STORE_UNSEEN:
        return 428;
    case STORE_FORBIDDEN:
        return 403;
    default:
        return 503;
    }
}

static void reply_failure(struct call *call)
{
    const struct store_failure *failure = &call->failure;
    int status = status_of(failure->kind, failure->pointer);
    bool points = status == 400 || *failure->pointer != '\0';

    if (status == 503)
        REPLY_HEADER(call->request->req, "retry-after", "Retry-After", SLICE("5"));
    problem_reply(call->request->req, status, points ? failure->pointer : NULL,
                  failure->why.reason);
}

/* The header's value, in the request's pool. */
static struct slice kept(h2o_req_t *req, const char *format, const char *text)
{
    size_t size = strlen(format) + strlen(text) + 1;
    char *value = h2o_mem_alloc_pool(&req->pool, size);

    return (struct slice){value, (size_t)snprintf(value, size, format, text)};
}

static bool is_not_modified(const struct call *call)
{
    const struct guard seen = {.versions = call->none_match};
    struct store_failure unused;

    return strcmp(call->operation->method, "GET") == 0 && *call->version != '\0' &&
           *call->none_match != '\0' && guard_check_version(&seen, call->version, &unused);
}

static void reply_answer(struct call *call)
{
    h2o_req_t *req = call->request->req;
    char *text = NULL;
    int status = call->status != 0 ? call->status : call->answer != NULL ? 200 : 204;

    if (*call->version != '\0')
        REPLY_HEADER(req, "etag", "ETag", kept(req, "\"%s\"", call->version));
    if (*call->location != '\0')
        REPLY_HEADER(req, "location", "Location", kept(req, "%s", call->location));
    if (*call->next != '\0')
        REPLY_HEADER(req, "link", "Link", kept(req, "<%s>; rel=\"next\"", call->next));
    if (call->is_replay)
        REPLY_HEADER(req, "idempotency-replayed", "Idempotency-Replayed", SLICE("true"));
    reply_no_store(req);
    if (is_not_modified(call)) {
        reply(req, 304, SLICE(""), SLICE(""));
        return;
    }
    if (call->answer == NULL) {
        reply(req, status, SLICE(""), SLICE(""));
        return;
    }
    text = json_dumps(call->answer, JSON_COMPACT);
    if (text == NULL) {
        problem_reply(req, 503, NULL, "Out of memory; try again.");
        return;
    }
    reply_json(req, status, request_keep(req, slice_of(text)));
    OPENSSL_cleanse(text, strlen(text));
    free(text);
}

/* Lines */

static void append_lines(struct buffer *lines, const json_t *items)
{
    json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        char *line = json_dumps(item, JSON_COMPACT);

        buffer_append_text(lines, line != NULL ? line : "");
        buffer_append_text(lines, "\n");
        free(line);
    }
}

/* The caller's record is looked at again for each page. */
static void ask_for_more(struct reply_stream *stream)
{
    struct call_request *request = H2O_STRUCT_FROM_MEMBER(struct call_request, stream, stream);

    if (request->call != NULL)
        admin_submit(request->admin, &request->call->job);
}

/* Sends a page; true if it is the last. */
static bool send_lines(struct call *call)
{
    struct call_request *request = call->request;
    bool is_last;

    buffer_clear(&request->lines);
    append_lines(&request->lines, json_object_get(call->answer, "items"));
    free(call->page_after);
    call->page_after = strdup(json_is_string(json_object_get(call->answer, "next"))
                                  ? json_string_value(json_object_get(call->answer, "next"))
                                  : "");
    is_last = call->page_after == NULL || *call->page_after == '\0';
    call->after = call->page_after;
    json_decref(call->answer);
    call->answer = NULL;
    if (!request->has_begun) {
        request->has_begun = true;
        request->stream.on_sent = ask_for_more;
        reply_no_store(request->req);
        reply_stream_begin(&request->stream, request->req, SLICE("application/x-ndjson"));
    }
    reply_stream_send(&request->stream, (struct slice){request->lines.bytes, request->lines.size},
                      is_last);
    return is_last;
}

static void answer(struct call *call)
{
    struct call_request *request = call->request;

    if (call->refusal != 0 && request->has_begun) {
        reply_stream_abort(&request->stream);
    } else if (call->refusal == 401) {
        challenge(request->req, 401, INVALID_TOKEN, call->refusal_detail);
    } else if (call->refusal != 0) {
        problem_reply(request->req, call->refusal, NULL, call->refusal_detail);
    } else if (call->has_failed && request->has_begun) {
        reply_stream_abort(&request->stream);
    } else if (call->has_failed) {
        reply_failure(call);
    } else if (call->is_stream) {
        if (!send_lines(call))
            return;
    } else {
        reply_answer(call);
    }
    request->call = NULL;
    free_call(&call->job);
}
