/* POST /token, in the order in which it happens: form and credentials (authenticate.c), client,
 * secret, scope and resource, room for the record, quota, signature, record, answer.
 *
 * Up to the quota a request goes as fast as it can. The signature is what takes long, so those that
 * are granted a token stand in a line, of which each turn of the loop takes as many as it has time
 * for: however many come at once, nothing else waits for all of them.
 *
 * Once the client is authenticated, every answer tells what is left of its quota: so a request that
 * is to be refused goes on as far as the limiter, and only does not ask it for a token.
 */
#include "auth/endpoint/token.h"

#include <string.h>
#include <utlist.h>

#include "auth/client/client_cache.h"
#include "auth/client/scope.h"
#include "auth/client/throttle.h"
#include "auth/endpoint/authenticate.h"
#include "auth/endpoint/oauth_reply.h"
#include "auth/ledger/ledger_row.h"
#include "auth/quota/limiter.h"
#include "auth/token/access_token.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/access_log.h"
#include "common/http/lag.h"
#include "common/http/peer.h"
#include "common/http/reply.h"

#define TURN_US 600 /* for which a turn issues: together with the rest of it, about 1 ms */

/* A request that fails to authenticate is answered so long after it came, at the soonest. A look-up
 * usually takes less: so the time does not tell whether there was one, that is, which ids exist. */
#define FAILURE_MS 5

_Static_assert(FORM_MAX_RESOURCES >= CLIENT_MAX_AUDIENCES,
               "all that a client has have their place");

struct audiences {
    struct slice items[FORM_MAX_RESOURCES];
    size_t count;
};

struct token_request {
    struct token_request *prev, *next; /* in the line */
    bool is_granted;                   /* it stands there */
    h2o_req_t *req;
    struct worker *worker;
    struct form form;
    uint64_t came_ms;            /* monotonic */
    struct slice id;             /* as presented; from the pool */
    bool is_guess;               /* at the secret of an id that may exist */
    bool is_looked_up;           /* and nobody else's look-up was joined */
    struct secret_digest digest; /* of the secret that was presented */
    struct client_waiter waiter;
    struct timer hold;                 /* of the answer to one that failed to authenticate: */
    struct throttle_refusal throttled; /* it failed too often, … */
    bool cannot_tell;                  /* … PostgreSQL cannot be asked, or neither: 401 */
    struct client *client;             /* kept; NULL: not authenticated */
    struct slice scope;                /* to be granted */
    struct audiences audiences;
    const char *complaint; /* why it is refused, as `error`; NULL: it is not */
    enum oauth_error error;
    struct limiter_waiter limiter_waiter;
};

static void on_hold_over(struct timer *timer)
{
    struct token_request *request = H2O_STRUCT_FROM_MEMBER(struct token_request, hold, timer);

    if (request->cannot_tell)
        oauth_reply_try_later(request->req,
                              "The client cannot be looked up at the moment; try again later.");
    else if (request->throttled.wait_ms != 0)
        oauth_reply_slow_down(request->req, request->throttled);
    else
        oauth_reply_invalid_client(request->req);
}

/* Answers that it is not authenticated, when it is time for that; what is no guess at an id is
 * answered at once. */
static void refuse(struct token_request *request)
{
    uint64_t now_ms = clock_monotonic_ms(), answer_ms = request->came_ms + FAILURE_MS;

    if (!request->is_guess) {
        on_hold_over(&request->hold);
        return;
    }
    timer_start(&request->worker->timers, &request->hold,
                answer_ms > now_ms ? answer_ms - now_ms : 1);
}

/* Without PostgreSQL nobody can tell whether the id, or the secret, is a new one. */
static void refuse_untold(struct token_request *request)
{
    request->cannot_tell = true;
    refuse(request);
}

/* The authentication has failed. */
static void fail(struct token_request *request, enum auth_failure reason, bool exists)
{
    struct worker *worker = request->worker;

    request->is_guess = reason != AUTH_MALFORMED_SECRET && client_id_is_valid(request->id);
    token_note_failure(request->req, reason, request->id);
    if (request->is_guess && !pg_is_ready(&worker->pg)) {
        refuse_untold(request);
        return;
    }
    request->throttled = throttle_fail(&worker->process->throttle,
                                       &(struct throttle_failure){
                                           .peer = peer_of(request->req),
                                           .id = request->is_guess ? request->id : SLICE(""),
                                           .exists = exists,
                                           .looked_up = request->is_looked_up,
                                       },
                                       clock_monotonic_ms());
    refuse(request);
}

static void on_request_gone(void *data)
{
    struct token_request *request = data;

    timer_stop(&request->worker->timers, &request->hold);
    client_cache_stop_waiting(&request->waiter);
    limiter_stop_waiting(&request->limiter_waiter);
    if (request->is_granted)
        DL_DELETE(request->worker->granted, request);
    if (request->client != NULL)
        client_release(request->client);
}

static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source);
static void on_decision(struct limiter_waiter *waiter, enum limiter_decision decision,
                        const struct quota_left *left);

/* Finds the client, by a look-up when it has to be, unless too much has failed before. */
static void find(struct token_request *request)
{
    struct worker *worker = request->worker;
    struct network_address peer;

    if (client_cache_find(&worker->clients, request->id, &request->waiter))
        return;
    if (!pg_is_ready(&worker->pg)) {
        refuse_untold(request);
        return;
    }
    peer = peer_of(request->req);
    request->throttled =
        throttle_check(&worker->process->throttle, &peer, request->id, clock_monotonic_ms());
    if (request->throttled.wait_ms != 0)
        refuse(request);
    else
        request->is_looked_up =
            client_cache_look_up(&worker->clients, request->id, &request->waiter);
}

static void authenticate(struct token_request *request, const struct credentials *credentials)
{
    struct slice id = credentials->id;

    request->id =
        (struct slice){h2o_strdup(&request->req->pool, id.bytes, id.length).base, id.length};
    /* A mistyped secret shows by its checksum, at no cost for the database. */
    if (!secret_is_well_formed(credentials->secret)) {
        fail(request, AUTH_MALFORMED_SECRET, false);
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

    request->came_ms = clock_monotonic_ms();
    request->is_granted = false;
    request->is_guess = true;
    request->is_looked_up = false;
    request->hold = (struct timer){.on_time = on_hold_over};
    request->cannot_tell = false;
    request->req = req;
    request->worker = worker;
    request->waiter.on_client = on_client;
    request->waiter.lookup = NULL;
    request->client = NULL;
    request->complaint = NULL;
    request->limiter_waiter.on_decision = on_decision;
    request->limiter_waiter.ask = NULL;
    if (!token_read(req, &request->form, &credentials))
        return;
    access_log_scope(req, request->form.scope);
    authenticate(request, &credentials);
    token_wipe(req, &request->form, &credentials);
}

/* The answer that is to come; the first complaint stands. */
static void complain(struct token_request *request, enum oauth_error error, const char *complaint)
{
    if (request->complaint != NULL)
        return;
    request->error = error;
    request->complaint = complaint;
}

/* What the form asks for of the client's scope; all of it when it asks for nothing. */
static void grant_scope(struct token_request *request)
{
    struct slice asked = request->form.scope;
    const struct client *client = request->client;
    char granted[SCOPE_MAX];
    size_t length;

    if (asked.length > SCOPE_MAX ||
        !scope_grant(asked, client->scopes, client->scope_count, granted, &length)) {
        complain(request, OAUTH_INVALID_SCOPE,
                 "Ask for scopes that this client may have, separated by spaces, or for none to "
                 "get them all.");
        return;
    }
    request->scope =
        length == 0 ? client->scope
                    : (struct slice){h2o_strdup(&request->req->pool, granted, length).base, length};
}

static void add_audience(struct audiences *audiences, struct slice audience)
{
    for (size_t i = 0; i != audiences->count; ++i) {
        if (slice_equal(audiences->items[i], audience))
            return;
    }
    if (audiences->count != FORM_MAX_RESOURCES)
        audiences->items[audiences->count++] = audience;
}

static struct slice without_slash(struct slice uri)
{
    if (uri.length != 0 && uri.bytes[uri.length - 1] == '/')
        --uri.length;
    return uri;
}

/* URIs are compared as they are written. What people get wrong most is named. */
static const char *audience_complaint(struct slice allowed, struct slice asked)
{
    struct slice audience;

    while (scope_next(&allowed, &audience)) {
        if (slice_equal(without_slash(audience), without_slash(asked)))
            return asked.bytes[asked.length - 1] == '/'
                       ? "A resource ends with a slash, which the client's audience does not: ask "
                         "without it."
                       : "A resource lacks the slash with which the client's audience ends: ask "
                         "with it.";
    }
    return "Ask for resources that this client may have, or for none to get its default.";
}

/* RFC 8707 2: what was asked, when the client may have it; else all that the client has; a client
 * without any has the issuer. */
static void grant_audiences(struct token_request *request)
{
    const struct form *form = &request->form;
    const struct client *client = request->client;
    struct audiences *granted = &request->audiences;
    struct slice allowed = client->audiences.length != 0
                               ? client->audiences
                               : slice_of(request->worker->process->settings.issuer);
    struct slice item;

    granted->count = 0;
    for (size_t i = 0; i != form->resource_count; ++i)
        add_audience(granted, form->resources[i]);
    for (size_t i = 0; i != granted->count; ++i) {
        if (!scope_has(allowed, granted->items[i]))
            complain(request, OAUTH_INVALID_TARGET, audience_complaint(allowed, granted->items[i]));
    }
    if (granted->count == 0) {
        while (scope_next(&allowed, &item))
            add_audience(granted, item);
    }
}

/* Without them no token is issued, so the quota is not touched. */
static void check_means(struct token_request *request)
{
    struct worker *worker = request->worker;

    if (!access_token_signer_is_set(&worker->keys.signer))
        complain(request, OAUTH_TEMPORARILY_UNAVAILABLE,
                 "There is no active signing key; try again later.");
    else if (!spool_has_room(&worker->spool) &&
             worker->process->settings.spool_full == SPOOL_FULL_REFUSE)
        complain(request, OAUTH_TEMPORARILY_UNAVAILABLE,
                 "There is no room to record tokens; try again later.");
}

/* They become refusals, or leave all the same where records may be dropped. */
static void revoke_answers(struct worker *worker)
{
    h2o_req_t *req;

    if (worker->process->settings.spool_full == SPOOL_FULL_DROP) {
        counter_add(&worker->counters.ledger_dropped, worker->spool.lost_rows);
        return;
    }
    memset(worker->issued, 0, sizeof(worker->issued));
    while ((req = reply_take_back(worker)) != NULL) {
        access_log_token(req, NULL);
        oauth_reply_try_later(req, "The token could not be recorded; try again later.");
    }
}

void token_end_pass(struct worker *worker, bool recorded)
{
    if (!worker->issued_any)
        return;
    if (!recorded)
        revoke_answers(worker);
    for (size_t tier = 0; tier != TIER_MAX; ++tier) {
        if (worker->issued[tier] != 0)
            counter_add(&worker->counters.tokens_issued[tier], worker->issued[tier]);
        worker->issued[tier] = 0;
    }
    worker->issued_any = false;
}

static void issue(struct token_request *request)
{
    struct worker *worker = request->worker;
    const struct settings *settings = &worker->process->settings;
    const struct client *client = request->client;
    struct access_token_signer *signer = &worker->keys.signer;
    int64_t ttl = client->token_ttl != 0 ? client->token_ttl : settings->token_ttl;
    int64_t now_ms = clock_unix_ms();
    struct access_token_claims claims = {
        .issuer = slice_of(settings->issuer),
        .client_id = client->id,
        .audiences = request->audiences.items,
        .audience_count = request->audiences.count,
        .scope = request->scope,
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
        oauth_reply_try_later(request->req, "There is no active signing key; try again later.");
        return;
    }
    room = spool_has_room(&worker->spool); /* it may have gone while the limiter was asked */
    if (!room && settings->spool_full == SPOOL_FULL_REFUSE) {
        oauth_reply_try_later(request->req, "There is no room to record tokens; try again later.");
        return;
    }
    buffer_clear(&worker->scratch);
    if (!uuid_v7_make(&worker->uuids, now_ms, &claims.jti) ||
        !access_token_sign(signer, &claims, &worker->scratch)) {
        oauth_reply_try_later(request->req,
                              "No token can be signed at the moment; try again later.");
        return;
    }
    histogram_observe(&worker->counters.sign_durations[signer->alg],
                      clock_monotonic_us() - started_us);
    ++worker->issued[client->tier];
    worker->issued_any = true;
    kept_headers = request->req->res.headers.size;
    access_log_token(request->req, &claims.jti);
    token_answer(request->req, (struct slice){worker->scratch.bytes, worker->scratch.size}, ttl,
                 request->scope);
    if (room) {
        ledger_row_append(&worker->spool, &claims, client->tier_name, signer->kid, now_ms);
        reply_depends_on_record(request->req, kept_headers);
    } else {
        counter_add(&worker->counters.ledger_dropped, 1);
    }
}

static struct token_request *next_granted(struct worker *worker)
{
    struct token_request *request = worker->granted;

    DL_DELETE(worker->granted, request);
    request->is_granted = false;
    return request;
}

/* As long as the rest of the turn took at least: who floods the server with what is refused at
 * little cost gets half of its time, and not nearly all. */
bool token_issue(struct worker *worker)
{
    uint64_t now_us, until_us;

    if (worker->granted == NULL)
        return false;
    lag_begin();
    now_us = clock_monotonic_us();
    until_us = now_us + (now_us - lag_since_us > TURN_US ? now_us - lag_since_us : TURN_US);
    while (worker->granted != NULL && now_us < until_us) {
        issue(next_granted(worker));
        now_us = clock_monotonic_us();
    }
    return worker->granted != NULL;
}

void token_refuse_granted(struct worker *worker)
{
    while (worker->granted != NULL)
        oauth_reply_try_later(next_granted(worker)->req, "The server is stopping; try again.");
}

static void on_decision(struct limiter_waiter *waiter, enum limiter_decision decision,
                        const struct quota_left *left)
{
    struct token_request *request =
        H2O_STRUCT_FROM_MEMBER(struct token_request, limiter_waiter, waiter);

    oauth_reply_quota_headers(request->req, request->client, left);
    if (request->complaint != NULL) {
        if (request->error == OAUTH_TEMPORARILY_UNAVAILABLE)
            oauth_reply_try_later(request->req, request->complaint);
        else
            oauth_reply_error(request->req, request->error, request->complaint);
    } else if (decision == LIMITER_REFUSED) {
        oauth_reply_quota_used_up(request->req, request->client, left);
    } else if (decision == LIMITER_DENIED) {
        oauth_reply_try_later(request->req,
                              "The quota cannot be checked at the moment; try again later.");
    } else {
        DL_APPEND(request->worker->granted, request);
        request->is_granted = true;
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
    enum auth_failure reason;

    if (status == CLIENT_UNAVAILABLE) {
        refuse_untold(request);
        return;
    }
    if (!client_authenticate(client, &request->digest, now_ms, &reason)) {
        fail(request, reason, client != NULL);
        return;
    }
    access_log_client(request->req, client->id);
    if (!client->has_authenticated)
        throttle_know(&request->worker->process->throttle, client->id);
    client->has_authenticated = true;
    client_keep(client);
    request->client = client;
    REPLY_HEADER(request->req, "x-cache-status", "X-Cache-Status", cache_status(source));
    request->limiter_waiter.asks = true;
    if (limiter_refuse_again(&request->worker->limiter, client, &request->limiter_waiter))
        return; /* whatever it asks for */
    grant_scope(request);
    grant_audiences(request);
    check_means(request);
    request->limiter_waiter.asks = request->complaint == NULL;
    limiter_take(&request->worker->limiter, client, &request->limiter_waiter);
}
