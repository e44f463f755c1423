/* POST /token. Functions are in the order in which a request reaches them: form, client, scope and
 * resources, quota, signature and record, response.
 *
 * Once the client is authenticated, every response says what is left of its quota. So even a
 * request that will be refused goes to the limiter, but does not ask it for a token.
 */
#include "auth/endpoint/token.h"

#include <string.h>

#include "auth/client/scope.h"
#include "auth/client/secret.h"
#include "auth/endpoint/authenticate.h"
#include "auth/endpoint/oauth_form.h"
#include "auth/endpoint/oauth_reply.h"
#include "auth/quota/limiter.h"
#include "auth/token/issue.h"
#include "auth/worker.h"
#include "common/http/access_log.h"
#include "common/http/reply.h"
#include "common/http/request.h"

#define RESOURCES_MAX 16 /* `resource` may repeat (RFC 8707 2), and so may `audience` */

_Static_assert(RESOURCES_MAX >= CLIENT_MAX_AUDIENCES, "all that a client has have their place");

struct token_request {
    h2o_req_t *req;
    struct worker *worker;
    struct slice asked_scope;              /* points into the body, as do the resources */
    struct slice audiences[RESOURCES_MAX]; /* requested, then granted */
    size_t audience_count;
    struct authentication authentication;
    struct client *client; /* referenced; NULL: not authenticated */
    const char *complaint; /* why it will be refused, with `error`; NULL: it will not */
    enum oauth_error error;
    struct limiter_waiter limiter_waiter;
    struct issue_request issue;
    size_t kept_headers; /* how many headers stay if the response is taken back */
};

static void on_client(struct authentication *authentication, struct client *client);
static void on_decision(struct limiter_waiter *waiter, enum limiter_decision decision,
                        const struct quota_left *left);
static void on_token(struct issue_request *issue, const struct issue_token *token);
static void on_refused(struct issue_request *issue, const char *why);
static void on_gone(void *data);

static void add_audience(struct token_request *request, struct slice audience)
{
    for (size_t i = 0; i != request->audience_count; ++i) {
        if (slice_equal(request->audiences[i], audience))
            return;
    }
    if (request->audience_count != RESOURCES_MAX)
        request->audiences[request->audience_count++] = audience;
}

/* Collects the resources without duplicates. False if there are too many. */
static bool read_resources(struct token_request *request, const struct form *form)
{
    size_t count = 0;

    for (size_t i = 0; i != form->count; ++i) {
        struct slice name = form->parameters[i].name, value = form->parameters[i].value;

        if (value.length == 0 ||
            (!slice_equal(name, SLICE("resource")) && !slice_equal(name, SLICE("audience"))))
            continue;
        if (count++ == RESOURCES_MAX)
            return false;
        add_audience(request, value);
    }
    return true;
}

/* Refuses and returns false if the form is incomplete or asks for something unsupported. */
static bool read_form(struct token_request *request, const struct form *form)
{
    struct slice grant_type = form_get(form, SLICE("grant_type"));

    if (grant_type.length == 0)
        oauth_reply_error(request->req, OAUTH_INVALID_REQUEST,
                          "grant_type is missing; send client_credentials.");
    else if (!slice_equal(grant_type, SLICE("client_credentials")))
        oauth_reply_error(request->req, OAUTH_UNSUPPORTED_GRANT_TYPE,
                          "The only grant_type here is client_credentials.");
    else if (!read_resources(request, form))
        oauth_reply_error(request->req, OAUTH_INVALID_REQUEST, "The body has too many parameters.");
    else
        return true;
    return false;
}

void token_handle(h2o_req_t *req)
{
    struct token_request *request = h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_gone);
    struct form form;

    *request = (struct token_request){.req = req,
                                      .worker = worker_of(req),
                                      .authentication.on_client = on_client,
                                      .limiter_waiter.on_decision = on_decision,
                                      .issue = {.on_token = on_token, .on_refused = on_refused}};
    if (!oauth_form_read(req, "Send grant_type=client_credentials in the body.", &form) ||
        !read_form(request, &form))
        return;
    request->asked_scope = form_get(&form, SLICE("scope"));
    if (!secret_is_suspected(request->asked_scope))
        access_log_add(req, "scope", request->asked_scope);
    authenticate_begin(&request->authentication, req, &form);
}

/* Sets the error to answer with; the first one wins. */
static void complain(struct token_request *request, enum oauth_error error, const char *complaint)
{
    if (request->complaint != NULL)
        return;
    request->error = error;
    request->complaint = complaint;
}

/* Grants the requested part of the client's scope; all of it if none was requested. */
static void grant_scope(struct token_request *request)
{
    struct slice asked = request->asked_scope;
    const struct client *client = request->client;
    char granted[SCOPE_MAX];
    size_t length;

    if (asked.length > SCOPE_MAX ||
        !scope_grant(asked, client->scopes, client->scope_count, granted, &length))
        complain(request, OAUTH_INVALID_SCOPE,
                 "Ask for scopes that this client may have, separated by spaces, or for none to "
                 "get them all.");
    else
        request->issue.scope = length == 0
                                   ? client->scope
                                   : request_keep(request->req, (struct slice){granted, length});
}

static struct slice without_slash(struct slice uri)
{
    if (uri.length != 0 && uri.bytes[uri.length - 1] == '/')
        --uri.length;
    return uri;
}

/* URIs are compared literally; the most common mistake gets its own message. */
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

/* RFC 8707 2: grants the requested audiences if the client may have them, all of the client's if
 * none was requested. A client without audiences has the issuer. */
static void grant_audiences(struct token_request *request)
{
    const struct client *client = request->client;
    struct slice allowed = client->audiences.length != 0
                               ? client->audiences
                               : slice_of(request->worker->process->settings.issuer);
    struct slice item;

    for (size_t i = 0; i != request->audience_count; ++i) {
        if (!scope_has(allowed, request->audiences[i]))
            complain(request, OAUTH_INVALID_TARGET,
                     audience_complaint(allowed, request->audiences[i]));
    }
    if (request->audience_count == 0) {
        while (scope_next(&allowed, &item))
            add_audience(request, item);
    }
}

static void on_client(struct authentication *authentication, struct client *client)
{
    struct token_request *request =
        H2O_STRUCT_FROM_MEMBER(struct token_request, authentication, authentication);
    struct limiter *limiter = &request->worker->limiter;
    const char *obstacle;

    client_keep(client);
    request->client = client;
    request->limiter_waiter.asks = true;
    if (limiter_refuse_again(limiter, client, &request->limiter_waiter))
        return; /* whatever was requested */
    grant_scope(request);
    grant_audiences(request);
    /* If no token can be issued now, the quota is not charged. */
    if (request->complaint == NULL && (obstacle = issue_obstacle(&request->worker->issue)) != NULL)
        complain(request, OAUTH_TEMPORARILY_UNAVAILABLE, obstacle);
    request->limiter_waiter.asks = request->complaint == NULL;
    limiter_take(limiter, client, &request->limiter_waiter);
}

static void join_line(struct token_request *request)
{
    const struct client *client = request->client;
    struct issue_request *issue = &request->issue;

    issue->client_id = client->id;
    issue->tier = client->tier;
    issue->tier_name = client->tier_name;
    issue->ttl_s = client->token_ttl_s != 0 ? client->token_ttl_s
                                            : request->worker->process->settings.token_ttl_s;
    issue->audiences = request->audiences;
    issue->audience_count = request->audience_count;
    issue->claims = client->claims;
    issue->organization = client->organization;
    issue->credential = request->authentication.credential;
    issue_join(&request->worker->issue, issue);
}

static void on_decision(struct limiter_waiter *waiter, enum limiter_decision decision,
                        const struct quota_left *left)
{
    struct token_request *request =
        H2O_STRUCT_FROM_MEMBER(struct token_request, limiter_waiter, waiter);
    h2o_req_t *req = request->req;

    oauth_reply_quota_headers(req, request->client, left);
    if (request->complaint != NULL && request->error == OAUTH_TEMPORARILY_UNAVAILABLE)
        oauth_reply_try_later(req, request->complaint);
    else if (request->complaint != NULL)
        oauth_reply_error(req, request->error, request->complaint);
    else if (decision == LIMITER_REFUSED)
        oauth_reply_quota_used_up(req, request->client, left);
    else if (decision == LIMITER_DENIED)
        oauth_reply_try_later(req, "The quota cannot be checked at the moment; try again later.");
    else
        join_line(request);
}

/* printf would cost more than the rest of the response. */
static char *append(char *to, struct slice text)
{
    memcpy(to, text.bytes, text.length);
    return to + text.length;
}

/* RFC 6749 5.1. */
static struct slice write_body(h2o_req_t *req, const struct issue_token *token, struct slice scope)
{
    char *body = h2o_mem_alloc_pool(&req->pool, token->text.length + scope.length + 112),
         *end = body;

    end = append(end, SLICE("{\"access_token\":\""));
    end = append(end, token->text);
    end = append(end, SLICE("\",\"token_type\":\"Bearer\",\"expires_in\":"));
    end += integer_write(token->ttl_s, end);
    if (scope.length != 0) {
        end = append(end, SLICE(",\"scope\":\""));
        end = append(end, scope);
        end = append(end, SLICE("\""));
    }
    end = append(end, SLICE("}"));
    return (struct slice){body, (size_t)(end - body)};
}

static void note_token(h2o_req_t *req, const struct uuid *jti)
{
    char text[UUID_TEXT_LENGTH];

    if (!access_log_is_on(req))
        return;
    uuid_format(jti, text);
    access_log_add(req, "jti", (struct slice){text, sizeof(text)});
}

static void on_token(struct issue_request *issue, const struct issue_token *token)
{
    struct token_request *request = H2O_STRUCT_FROM_MEMBER(struct token_request, issue, issue);
    h2o_req_t *req = request->req;

    request->kept_headers = req->res.headers.size;
    note_token(req, &token->jti);
    reply_no_store(req);
    reply_json(req, 200, write_body(req, token, issue->scope));
}

/* The request may already have been answered in this pass, with a token whose record then could not
 * be written. */
static void on_refused(struct issue_request *issue, const char *why)
{
    struct token_request *request = H2O_STRUCT_FROM_MEMBER(struct token_request, issue, issue);

    if (request->kept_headers != 0) {
        reply_take_back(request->req, request->kept_headers);
        access_log_remove(request->req, "jti");
    }
    oauth_reply_try_later(request->req, why);
}

static void on_gone(void *data)
{
    struct token_request *request = data;

    authenticate_stop(&request->authentication);
    limiter_stop_waiting(&request->limiter_waiter);
    issue_leave(&request->issue);
    if (request->client != NULL)
        client_release(request->client);
}
