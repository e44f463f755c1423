/* POST /token, in the order in which it happens: form, credentials, client, secret, scope and
 * resource, signature, record, answer.
 */
#include "auth/token.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "auth/access_token.h"
#include "auth/client.h"
#include "auth/client_auth.h"
#include "auth/form.h"
#include "auth/peer.h"
#include "auth/reply.h"
#include "auth/scope.h"
#include "auth/throttle.h"
#include "auth/worker.h"
#include "common/clock.h"

struct token_request {
    h2o_req_t *req;
    struct worker *worker;
    struct form form;
    struct slice id;             /* as presented; from the pool */
    struct secret_digest digest; /* of the secret that was presented */
    struct client_waiter waiter;
};

static const struct {
    const char *name;
    int status;
} errors[TOKEN_ERROR_COUNT] = {
    [TOKEN_INVALID_REQUEST] = {"invalid_request", 400},
    [TOKEN_UNSUPPORTED_GRANT_TYPE] = {"unsupported_grant_type", 400},
    [TOKEN_INVALID_CLIENT] = {"invalid_client", 401},
    [TOKEN_SLOW_DOWN] = {"slow_down", 429},
    [TOKEN_INVALID_SCOPE] = {"invalid_scope", 400},
    [TOKEN_INVALID_TARGET] = {"invalid_target", 400},
    [TOKEN_TEMPORARILY_UNAVAILABLE] = {"temporarily_unavailable", 503},
};

const char *token_error_name(enum token_error error)
{
    return errors[error].name;
}

static void refuse_with_status(h2o_req_t *req, enum token_error error, int status,
                               const char *description)
{
    counter_add(&worker_of(req)->counters.token_errors[error], 1);
    reply_error(req, status, errors[error].name, description);
}

static void refuse(h2o_req_t *req, enum token_error error, const char *description)
{
    refuse_with_status(req, error, errors[error].status, description);
}

/* One answer for an unknown client, a wrong or expired secret and a disabled client: which it was
 * is nobody's business. RFC 6749 5.2 asks for the challenge after Basic; it does no harm without.
 */
static void refuse_client(h2o_req_t *req)
{
    REPLY_HEADER(req, "www-authenticate", "WWW-Authenticate", SLICE("Basic realm=\"jotd\""));
    refuse(req, TOKEN_INVALID_CLIENT,
           "Authenticate as a client that exists and is enabled, with a secret that is valid: by "
           "HTTP Basic, or by client_id and client_secret in the body.");
}

static void retry_after(h2o_req_t *req, uint64_t wait_ms)
{
    char *seconds = h2o_mem_alloc_pool(&req->pool, 24);
    int length = snprintf(seconds, 24, "%" PRIu64, (wait_ms + 999) / 1000);

    REPLY_HEADER(req, "retry-after", "Retry-After", ((struct slice){seconds, (size_t)length}));
}

static void refuse_for_now(h2o_req_t *req, const char *description)
{
    retry_after(req, 1000);
    refuse(req, TOKEN_TEMPORARILY_UNAVAILABLE, description);
}

static void slow_down(h2o_req_t *req, struct throttle_refusal refusal)
{
    counter_add(&worker_of(req)->counters.auth_throttled[refusal.by], 1);
    retry_after(req, refusal.wait_ms);
    refuse(req, TOKEN_SLOW_DOWN,
           "Too many authentications have failed; wait as long as Retry-After says, then use a "
           "secret that is valid.");
}

/* The authentication has failed: 401, or 429 when that happens too often. */
static void fail(struct token_request *request, bool exists)
{
    struct network_address peer = peer_of(request->req);
    struct throttle_refusal refusal = throttle_fail(&request->worker->process->throttle, &peer,
                                                    request->id, exists, clock_monotonic_ms());

    if (refusal.wait_ms != 0)
        slow_down(request->req, refusal);
    else
        refuse_client(request->req);
}

/* The value of a header that may come once at most; false when it comes twice. */
static bool single_header(const h2o_req_t *req, const h2o_token_t *name, struct slice *value)
{
    ssize_t at = h2o_find_header(&req->headers, name, -1);

    *value = (struct slice){"", 0};
    if (at == -1)
        return true;
    *value =
        (struct slice){req->headers.entries[at].value.base, req->headers.entries[at].value.len};
    return h2o_find_header(&req->headers, name, at) == -1;
}

static bool is_form(struct slice content_type)
{
    struct slice form = SLICE("application/x-www-form-urlencoded");

    if (content_type.length < form.length ||
        strncasecmp(content_type.bytes, form.bytes, form.length) != 0)
        return false;
    return content_type.length == form.length || strchr("; \t", content_type.bytes[form.length]);
}

static const char *form_complaint(enum form_error error)
{
    switch (error) {
    case FORM_BAD_ESCAPE:
        return "The body has a % that two hex digits do not follow.";
    case FORM_NUL:
        return "The body has a NUL byte.";
    case FORM_DUPLICATE:
        return "A parameter is there twice; only resource may repeat.";
    default:
        return "The body has too many parameters.";
    }
}

/* Reads the body into `form`; answers and returns false when that cannot be. */
static bool read_form(h2o_req_t *req, struct form *form)
{
    struct slice content_type;
    enum form_error error;

    if (req->entity.len > TOKEN_MAX_BODY) {
        refuse_with_status(req, TOKEN_INVALID_REQUEST, 413,
                           "The body is too large; 16 KiB are allowed.");
    } else if (!single_header(req, H2O_TOKEN_CONTENT_TYPE, &content_type) ||
               !is_form(content_type)) {
        refuse(req, TOKEN_INVALID_REQUEST,
               "Send one Content-Type: application/x-www-form-urlencoded.");
    } else if (req->entity.len == 0) {
        refuse(req, TOKEN_INVALID_REQUEST, "Send grant_type=client_credentials in the body.");
    } else if ((error = form_parse(req->entity.base, req->entity.len, form)) != FORM_OK) {
        refuse(req, TOKEN_INVALID_REQUEST, form_complaint(error));
    } else if (form->grant_type.length == 0) {
        refuse(req, TOKEN_INVALID_REQUEST, "grant_type is missing; send client_credentials.");
    } else if (!slice_equal(form->grant_type, SLICE("client_credentials"))) {
        refuse(req, TOKEN_UNSUPPORTED_GRANT_TYPE,
               "The only grant_type here is "
               "client_credentials.");
    } else {
        return true;
    }
    return false;
}

static void wipe(struct slice secret)
{
    OPENSSL_cleanse((char *)secret.bytes, secret.length);
}

/* Reads the credentials; answers and returns false when there are none. */
static bool read_credentials(h2o_req_t *req, const struct form *form,
                             struct credentials *credentials)
{
    struct slice authorization;
    enum client_auth_error error;

    if (!single_header(req, H2O_TOKEN_AUTHORIZATION, &authorization)) {
        refuse(req, TOKEN_INVALID_REQUEST, "Send one Authorization header.");
        return false;
    }
    error = client_auth_read(authorization, form, credentials);
    wipe(authorization);
    switch (error) {
    case CLIENT_AUTH_OK:
        return true;
    case CLIENT_AUTH_NONE:
        refuse_client(req);
        break;
    case CLIENT_AUTH_MALFORMED:
        refuse(req, TOKEN_INVALID_REQUEST,
               "The Basic credentials cannot be read: send base64 of id, colon and secret, each "
               "form-encoded.");
        break;
    case CLIENT_AUTH_TWO_METHODS:
        refuse(req, TOKEN_INVALID_REQUEST,
               "Send the credentials either by HTTP Basic or in the body, not both.");
        break;
    }
    return false;
}

static void on_request_gone(void *data)
{
    struct token_request *request = data;

    client_stop_waiting(&request->waiter);
}

static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source);

/* Finds the client, by a look-up when it has to be, unless too much has failed before. */
static void find(struct token_request *request)
{
    struct worker *worker = request->worker;
    struct throttle_refusal refusal;
    struct network_address peer;

    if (client_find(&worker->clients, request->id, &request->waiter))
        return;
    peer = peer_of(request->req);
    refusal = throttle_check(&worker->process->throttle, &peer, request->id, clock_monotonic_ms());
    if (refusal.wait_ms != 0)
        slow_down(request->req, refusal);
    else
        client_look_up(&worker->clients, request->id, &request->waiter);
}

static void authenticate(struct token_request *request, const struct credentials *credentials)
{
    struct slice id = credentials->id;

    request->id =
        (struct slice){h2o_strdup(&request->req->pool, id.bytes, id.length).base, id.length};
    /* A mistyped secret shows by its checksum, at no cost for the database. */
    if (!secret_is_well_formed(credentials->secret)) {
        fail(request, false);
        return;
    }
    secret_digest(credentials->secret, &request->digest);
    find(request);
}

void token_handle(h2o_req_t *req)
{
    struct worker *worker = worker_of(req);
    struct token_request *request =
        h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_request_gone);
    struct credentials credentials;

    request->req = req;
    request->worker = worker;
    request->waiter.on_client = on_client;
    request->waiter.lookup = NULL;
    if (!read_form(req, &request->form))
        return;
    if (read_credentials(req, &request->form, &credentials))
        authenticate(request, &credentials);
    wipe(request->form.client_secret);
    OPENSSL_cleanse(credentials.basic, sizeof(credentials.basic));
}

/* What the form asks for of the client's scope: true, and the scope to grant. */
static bool grant_scope(struct token_request *request, const struct client *client,
                        struct slice *granted)
{
    struct slice asked = request->form.scope;
    char *copy;

    if (asked.length == 0) {
        *granted = client->scope;
        return true;
    }
    if (asked.length > SCOPE_MAX || !scope_is_valid(asked) ||
        !scope_is_subset(asked, client->scope)) {
        refuse(request->req, TOKEN_INVALID_SCOPE,
               "Ask for scopes that this client may have, separated by single spaces, or for none "
               "to get them all.");
        return false;
    }
    copy = h2o_mem_alloc_pool(&request->req->pool, asked.length);
    *granted = (struct slice){copy, scope_without_repeats(asked, copy)};
    return true;
}

#define MAX_AUDIENCES (FORM_MAX_RESOURCES + 1) /* also the bound of clients.audiences */

struct audiences {
    struct slice items[MAX_AUDIENCES];
    size_t count;
};

static void add_audience(struct audiences *audiences, struct slice audience)
{
    for (size_t i = 0; i != audiences->count; ++i) {
        if (slice_equal(audiences->items[i], audience))
            return;
    }
    if (audiences->count != MAX_AUDIENCES)
        audiences->items[audiences->count++] = audience;
}

/* RFC 8707 2: what was asked, when the client may have it; else all that the client has; a client
 * without any has the issuer. `audience` is one more resource under the name that others use. */
static bool grant_audiences(struct token_request *request, const struct client *client,
                            struct audiences *granted)
{
    const struct form *form = &request->form;
    struct slice allowed = client->audiences.length != 0
                               ? client->audiences
                               : slice_of(request->worker->process->settings.issuer);
    struct slice item;

    granted->count = 0;
    for (size_t i = 0; i != form->resource_count; ++i)
        add_audience(granted, form->resources[i]);
    if (form->audience.length != 0)
        add_audience(granted, form->audience);
    for (size_t i = 0; i != granted->count; ++i) {
        if (!scope_has(allowed, granted->items[i])) {
            refuse(request->req, TOKEN_INVALID_TARGET,
                   "Ask for resources that this client may have, or for none to get its default.");
            return false;
        }
    }
    if (granted->count == 0) {
        while (scope_next(&allowed, &item))
            add_audience(granted, item);
    }
    return true;
}

/* RFC 6749 5.1. */
static void answer(struct token_request *request, struct slice token, int64_t expires_in,
                   struct slice scope)
{
    size_t size = token.length + scope.length + 112;
    char *body = h2o_mem_alloc_pool(&request->req->pool, size);
    int length = snprintf(body, size,
                          "{\"access_token\":\"%.*s\",\"token_type\":\"Bearer\","
                          "\"expires_in\":%" PRId64,
                          (int)token.length, token.bytes, expires_in);

    if (scope.length != 0)
        length += snprintf(body + length, size - (size_t)length, ",\"scope\":\"%.*s\"",
                           (int)scope.length, scope.bytes);
    body[length++] = '}';
    reply_no_store(request->req);
    reply_json(request->req, 200, (struct slice){body, (size_t)length});
}

void token_revoke_answers(struct worker *worker)
{
    h2o_req_t *req;

    if (worker->process->settings.spool_full == SPOOL_FULL_DROP) {
        counter_add(&worker->counters.ledger_dropped, worker->spool.lost_rows);
        return;
    }
    while ((req = reply_take_back(worker)) != NULL)
        refuse_for_now(req, "The token could not be recorded; try again later.");
}

static void issue(struct token_request *request, const struct client *client, int64_t now_ms,
                  struct slice scope, const struct audiences *audiences)
{
    struct worker *worker = request->worker;
    const struct settings *settings = &worker->process->settings;
    struct access_token_signer *signer = &worker->keys.signer;
    int64_t ttl = client->token_ttl != 0 ? client->token_ttl : settings->token_ttl;
    struct access_token_claims claims = {
        .issuer = slice_of(settings->issuer),
        .client_id = client->id,
        .audiences = audiences->items,
        .audience_count = audiences->count,
        .scope = scope,
        .issued_at = now_ms / 1000,
    };
    uint64_t started_us = clock_monotonic_us();
    size_t kept_headers;
    bool room;

    /* No token outlives the publication of its key. */
    if (signer->retire_at != 0 && claims.issued_at + ttl > signer->retire_at)
        ttl = signer->retire_at - claims.issued_at;
    claims.expires_at = claims.issued_at + ttl;
    if (ttl <= 0 || !access_token_signer_is_set(signer)) {
        refuse_for_now(request->req, "There is no active signing key; try again later.");
        return;
    }
    room = spool_has_room(&worker->spool);
    if (!room && settings->spool_full == SPOOL_FULL_REFUSE) {
        refuse_for_now(request->req, "There is no room to record tokens; try again later.");
        return;
    }
    buffer_clear(&worker->scratch);
    if (!uuid_v7_make(&worker->uuids, now_ms, &claims.jti) ||
        !access_token_sign(signer, &claims, &worker->scratch)) {
        refuse_for_now(request->req, "No token can be signed at the moment; try again later.");
        return;
    }
    histogram_observe(&worker->counters.sign_durations[signer->alg],
                      clock_monotonic_us() - started_us);
    counter_add(&worker->counters.tokens_issued[client->tier], 1);
    kept_headers = request->req->res.headers.size;
    answer(request, (struct slice){worker->scratch.bytes, worker->scratch.size}, ttl, scope);
    if (room) {
        ledger_record(&worker->spool, &claims, client->tier_name, signer->kid, now_ms);
        reply_depends_on_record(request->req, kept_headers);
    } else {
        counter_add(&worker->counters.ledger_dropped, 1);
    }
}

static struct slice cache_status(enum client_source source)
{
    switch (source) {
    case CLIENT_HIT:
        return SLICE("HIT");
    case CLIENT_STALE:
        return SLICE("STALE");
    default:
        return SLICE("MISS");
    }
}

static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source)
{
    struct token_request *request = H2O_STRUCT_FROM_MEMBER(struct token_request, waiter, waiter);
    int64_t now_ms = clock_unix_ms();
    struct audiences audiences;
    struct slice scope;

    if (status == CLIENT_UNAVAILABLE) {
        refuse_for_now(request->req,
                       "The client cannot be looked up at the moment; try again later.");
        return;
    }
    if (!client_authenticate(client, &request->digest, now_ms)) {
        fail(request, client != NULL);
        return;
    }
    REPLY_HEADER(request->req, "x-cache-status", "X-Cache-Status", cache_status(source));
    if (grant_scope(request, client, &scope) && grant_audiences(request, client, &audiences))
        issue(request, client, now_ms, scope, &audiences);
}
