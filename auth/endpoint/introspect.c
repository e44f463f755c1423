/* POST /introspect. Functions are in the order in which a request reaches them: the token, its
 * client, the judgement.
 *
 * Every token that is not active gets the same answer, RFC 7662 2.2. One whose signature is right
 * also gets it after the same work, whatever is wrong: its client is found, the permission and the
 * denylist are looked at, and only then is it judged.
 */
#include "auth/endpoint/introspect.h"

#include "auth/endpoint/oauth_reply.h"
#include "auth/endpoint/presented_token.h"
#include "auth/introspection.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/reply.h"
#include "common/http/request.h"

struct introspect_request {
    struct presented_token presented;
    struct access_token *token;  /* referenced; NULL: none that is verified */
    struct client_waiter waiter; /* for the token's client */
};

static void on_token(struct presented_token *presented, enum access_token_state state,
                     struct access_token *token);
static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source);
static void on_gone(void *data);

void introspect_handle(h2o_req_t *req)
{
    struct introspect_request *request =
        h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_gone);

    *request =
        (struct introspect_request){.presented.on_token = on_token, .waiter.on_client = on_client};
    presented_token_begin(&request->presented, req);
}

static void answer(struct introspect_request *request, enum introspection_result result)
{
    h2o_req_t *req = request->presented.req;
    struct worker *worker = request->presented.worker;

    counter_add(&worker->counters.introspections[result], 1);
    request_wipe(req);
    if (result == INTROSPECTION_UNAVAILABLE) {
        oauth_reply_try_later(
            req, "It is not known at the moment which tokens are revoked; try again later.");
        return;
    }
    reply_no_store(req);
    reply_json(req, 200,
               result == INTROSPECTION_ACTIVE ? request->token->active
                                              : SLICE("{\"active\":false}"));
}

static enum introspection_result result_of(enum access_token_state state)
{
    switch (state) {
    case ACCESS_TOKEN_UNKNOWN_KEY:
        return INTROSPECTION_UNKNOWN_KEY;
    case ACCESS_TOKEN_OTHER_ISSUER:
        return INTROSPECTION_OTHER_ISSUER;
    case ACCESS_TOKEN_EXPIRED:
        return INTROSPECTION_EXPIRED;
    case ACCESS_TOKEN_BAD_SIGNATURE:
        return INTROSPECTION_BAD_SIGNATURE;
    default:
        return INTROSPECTION_MALFORMED;
    }
}

/* How old what is known may be: of revoked tokens, and of the token's client. */
static uint64_t stale_ms(const struct worker *worker)
{
    return (uint64_t)worker->process->settings.revocation_stale_s * 1000;
}

static void on_token(struct presented_token *presented, enum access_token_state state,
                     struct access_token *token)
{
    struct introspect_request *request =
        H2O_STRUCT_FROM_MEMBER(struct introspect_request, presented, presented);
    struct worker *worker = presented->worker;

    if (!denylist_is_current(&worker->process->feed.denylist, stale_ms(worker))) {
        answer(request, INTROSPECTION_UNAVAILABLE);
        return;
    }
    if (state != ACCESS_TOKEN_VALID) {
        answer(request, result_of(state));
        return;
    }
    access_token_verify_keep(token);
    request->token = token;
    if (!client_cache_find(&worker->clients, token->client_id, &request->waiter))
        client_cache_look_up(&worker->clients, token->client_id, &request->waiter);
}

/* Without shortcuts: each part is looked at, whatever the others say. */
static enum introspection_result judge(const struct introspect_request *request,
                                       const struct client *client)
{
    const struct access_token *token = request->token;
    const struct client *asker = request->presented.client;
    bool own = slice_equal(asker->id, token->client_id);
    bool permitted = own | client_may_introspect(asker, token->audiences);
    bool listed = denylist_has(&request->presented.worker->process->feed.denylist, &token->jti);
    bool enabled = client != NULL && client_is_enabled(client);
    bool outdated = client != NULL && uuid_v7_unix_ms(&token->jti) < client->valid_from_ms;
    bool revoked = listed | outdated;

    return !permitted ? INTROSPECTION_NOT_PERMITTED
           : revoked  ? INTROSPECTION_REVOKED
           : !enabled ? INTROSPECTION_NO_CLIENT
                      : INTROSPECTION_ACTIVE;
}

static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source)
{
    struct introspect_request *request =
        H2O_STRUCT_FROM_MEMBER(struct introspect_request, waiter, waiter);
    bool unknown =
        status == CLIENT_UNAVAILABLE ||
        (source == CLIENT_STALE &&
         clock_monotonic_ms() > client->fresh_until_ms + stale_ms(request->presented.worker));

    answer(request, unknown ? INTROSPECTION_UNAVAILABLE : judge(request, client));
}

static void on_gone(void *data)
{
    struct introspect_request *request = data;

    client_cache_stop_waiting(&request->waiter);
    if (request->token != NULL)
        access_token_verify_release(request->token);
    presented_token_stop(&request->presented);
}
