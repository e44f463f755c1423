/* The steps in the order in which they run: form, client, rate, token. */
#include "auth/endpoint/presented_token.h"

#include "auth/endpoint/oauth_form.h"
#include "auth/endpoint/oauth_reply.h"
#include "common/clock.h"

static void on_client(struct authentication *authentication, struct client *client);
static void on_verified(struct verification_request *verification, enum access_token_state state,
                        struct access_token *token);

/* An empty token is one that is not valid; without any, the request is broken. */
static bool has_token(const struct form *form)
{
    for (size_t i = 0; i != form->count; ++i) {
        if (slice_equal(form->parameters[i].name, SLICE("token")))
            return true;
    }
    return false;
}

void presented_token_begin(struct presented_token *presented, h2o_req_t *req)
{
    struct form form;

    presented->req = req;
    presented->worker = worker_of(req);
    presented->authentication.on_client = on_client;
    presented->verification.on_verified = on_verified;
    if (!oauth_form_read(req, "Send token=… in the body.", &form))
        return;
    presented->verification.text = form_get(&form, SLICE("token")); /* points into the body */
    if (!has_token(&form))
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, "token is missing; send it in the body.");
    else
        authenticate_begin(&presented->authentication, req, &form);
}

static void on_client(struct authentication *authentication, struct client *client)
{
    struct presented_token *presented =
        H2O_STRUCT_FROM_MEMBER(struct presented_token, authentication, authentication);
    struct worker *worker = presented->worker;

    client_keep(client);
    presented->client = client;
    if (client_rate_take(&worker->process->introspections, client->id, clock_monotonic_ms()))
        verification_begin(&worker->verification, &presented->verification);
    else
        oauth_reply_too_often(presented->req);
}

static void on_verified(struct verification_request *verification, enum access_token_state state,
                        struct access_token *token)
{
    struct presented_token *presented =
        H2O_STRUCT_FROM_MEMBER(struct presented_token, verification, verification);

    if (state == ACCESS_TOKEN_UNDECIDED)
        oauth_reply_try_later(presented->req, "The server is stopping; try again.");
    else
        presented->on_token(presented, state, token);
}

void presented_token_stop(struct presented_token *presented)
{
    authenticate_stop(&presented->authentication);
    verification_leave(&presented->verification);
    if (presented->client != NULL)
        client_release(presented->client);
}
