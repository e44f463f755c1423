/* POST /revoke. Functions are in the order in which a request reaches them. */
#include "auth/endpoint/revoke.h"

#include <stdlib.h>
#include <string.h>

#include "auth/endpoint/oauth_form.h"
#include "auth/endpoint/oauth_reply.h"
#include "auth/endpoint/presented_token.h"
#include "auth/feed.h"
#include "auth/worker.h"
#include "common/http/access_log.h"
#include "common/http/reply.h"
#include "common/http/request.h"

struct revoke_request {
    struct presented_token presented;
    struct revocation *revocation; /* under way; NULL: none */
};

/* Outlives the request: the feed has it until it is done. */
struct revocation {
    struct feed_revocation feed;
    struct revoke_request *request; /* NULL: gone */
};

static void on_token(struct presented_token *presented, enum access_token_state state,
                     struct access_token *token);
static void on_done(struct feed_job *job);
static void on_gone(void *data);

void revoke_handle(h2o_req_t *req)
{
    struct revoke_request *request = h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_gone);

    *request = (struct revoke_request){.presented.on_token = on_token};
    presented_token_begin(&request->presented, req);
}

/* RFC 7009 2.2: the status tells all, and a token that is not valid counts as revoked. */
static void reply_done(h2o_req_t *req)
{
    request_wipe(req);
    reply_no_store(req);
    reply(req, 200, SLICE(""), SLICE(""));
}

static void reply_not_recorded(h2o_req_t *req)
{
    oauth_reply_try_later(req, "The revocation cannot be recorded at the moment; try again later.");
}

static void begin(struct revoke_request *request, const struct access_token *token)
{
    struct revocation *revocation = calloc(1, sizeof(*revocation));

    if (revocation != NULL) {
        revocation->feed.jti = token->jti;
        revocation->feed.expires_at = token->expires_at;
        revocation->feed.job.on_done = on_done;
        revocation->request = request;
        memcpy(revocation->feed.client_id, token->client_id.bytes, token->client_id.length);
        if (feed_port_revoke(&request->presented.worker->feed, &revocation->feed)) {
            request->revocation = revocation;
            return;
        }
    }
    free(revocation);
    reply_not_recorded(request->presented.req);
}

static void note_token(h2o_req_t *req, const struct access_token *token)
{
    char text[UUID_TEXT_LENGTH];

    if (!access_log_is_on(req))
        return;
    uuid_format(&token->jti, text);
    access_log_add(req, "jti", (struct slice){text, sizeof(text)});
}

static void on_token(struct presented_token *presented, enum access_token_state state,
                     struct access_token *token)
{
    struct revoke_request *request =
        H2O_STRUCT_FROM_MEMBER(struct revoke_request, presented, presented);

    if (state != ACCESS_TOKEN_VALID) {
        reply_done(presented->req);
        return;
    }
    note_token(presented->req, token);
    if (slice_equal(presented->client->id, token->client_id))
        begin(request, token);
    else
        oauth_reply_error(presented->req, OAUTH_UNAUTHORIZED_CLIENT,
                          "A client may revoke only tokens of its own; operators use `jotd token "
                          "revoke`.");
}

static void on_done(struct feed_job *job)
{
    struct revocation *revocation = H2O_STRUCT_FROM_MEMBER(struct revocation, feed.job, job);
    struct revoke_request *request = revocation->request;

    if (request != NULL) {
        struct worker *worker = request->presented.worker;

        request->revocation = NULL;
        if (revocation->feed.recorded) {
            counter_add(&worker->counters.revocations, 1);
            reply_done(request->presented.req);
        } else {
            reply_not_recorded(request->presented.req);
        }
    }
    free(revocation);
}

static void on_gone(void *data)
{
    struct revoke_request *request = data;

    if (request->revocation != NULL)
        request->revocation->request = NULL;
    presented_token_stop(&request->presented);
}
