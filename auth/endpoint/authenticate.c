/* The steps in the order in which they run: credentials, form of the secret, client, secret; then
 * how a failure is answered.
 */
#include "auth/endpoint/authenticate.h"

#include <openssl/crypto.h>

#include "auth/client/credentials.h"
#include "auth/endpoint/oauth_reply.h"
#include "common/clock.h"
#include "common/http/access_log.h"
#include "common/http/peer.h"
#include "common/http/reply.h"
#include "common/http/request.h"

/* The earliest that a failed authentication is answered. A look-up usually takes less, so the time
 * does not reveal whether there was one, that is, which ids exist. */
#define FAILURE_MS 5

static void find(struct authentication *authentication);
static void on_client(struct client_waiter *waiter, enum client_status status,
                      struct client *client, enum client_source source);
static void fail(struct authentication *authentication, enum auth_failure reason, bool exists);
static void on_hold_over(struct timer *timer);

/* Counts and logs why an authentication failed, for the operator only: a 401 never says.
 * `client_id` is as presented. */
static void note_failure(h2o_req_t *req, enum auth_failure reason, struct slice client_id)
{
    struct worker *worker = worker_of(req);
    struct network_address peer = peer_of(req);
    char text[NETWORK_TEXT_MAX];

    counter_add(&worker->counters.auth_failures[reason], 1);
    auth_log_refused(&worker->auth_log, reason, client_id, network_address_format(&peer, text));
}

/* Answers and returns false if there are no usable credentials. */
static bool read_credentials(h2o_req_t *req, const struct form *form,
                             struct credentials *credentials)
{
    struct slice authorization, client_id = form_get(form, SLICE("client_id"));

    if (!request_single_header(req, H2O_TOKEN_AUTHORIZATION, &authorization)) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST, "Send one Authorization header.");
        return false;
    }
    switch (credentials_read(authorization, client_id, form_get(form, SLICE("client_secret")),
                             credentials)) {
    case CREDENTIALS_OK:
        return true;
    case CREDENTIALS_NONE:
        note_failure(req, AUTH_NO_CREDENTIALS, client_id);
        oauth_reply_invalid_client(req);
        break;
    case CREDENTIALS_CONTROL:
        note_failure(req, AUTH_MALFORMED_CREDENTIALS, credentials->id);
        oauth_reply_error(
            req, OAUTH_INVALID_REQUEST,
            "The Basic credentials hold a control character, such as the line end of the file that "
            "they are read from: send them without it.");
        break;
    case CREDENTIALS_MALFORMED:
        note_failure(req, AUTH_MALFORMED_CREDENTIALS, client_id);
        oauth_reply_error(
            req, OAUTH_INVALID_REQUEST,
            "The Basic credentials cannot be read: send base64 of id, colon and secret, each "
            "form-encoded.");
        break;
    case CREDENTIALS_TWO_METHODS:
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "Send the credentials either by HTTP Basic or in the body, not both.");
        break;
    }
    return false;
}

static void wipe_secret(h2o_req_t *req, const struct form *form, struct credentials *credentials)
{
    struct slice secret = form_get(form, SLICE("client_secret"));

    OPENSSL_cleanse((char *)secret.bytes, secret.length);
    OPENSSL_cleanse(credentials->basic, sizeof(credentials->basic));
    request_wipe_authorization(req);
}

void authenticate_begin(struct authentication *authentication, h2o_req_t *req,
                        const struct form *form)
{
    struct credentials credentials;

    authentication->req = req;
    authentication->worker = worker_of(req);
    authentication->came_ms = clock_monotonic_ms();
    authentication->is_guess = true;
    authentication->hold.on_time = on_hold_over;
    authentication->waiter.on_client = on_client;
    if (read_credentials(req, form, &credentials)) {
        authentication->id = request_keep(req, credentials.id);
        /* The checksum catches a mistyped secret without a look-up. */
        if (!secret_is_well_formed(credentials.secret)) {
            fail(authentication, AUTH_MALFORMED_SECRET, false);
        } else {
            secret_digest(credentials.secret, &authentication->digest);
            find(authentication);
        }
    }
    wipe_secret(req, form, &credentials);
}

/* Answers that authentication failed, no sooner than FAILURE_MS after the request arrived; at once
 * if it was no guess. */
static void refuse(struct authentication *authentication)
{
    uint64_t now_ms = clock_monotonic_ms(), answer_ms = authentication->came_ms + FAILURE_MS;

    if (!authentication->is_guess) {
        on_hold_over(&authentication->hold);
        return;
    }
    timer_start(&authentication->worker->http.timers, &authentication->hold,
                answer_ms > now_ms ? answer_ms - now_ms : 1);
}

/* Without PostgreSQL nobody can tell whether the id or the secret is a new one. */
static void refuse_untold(struct authentication *authentication)
{
    authentication->cannot_tell = true;
    refuse(authentication);
}

/* Finds the client in the cache, or looks it up unless too many attempts have failed. */
static void find(struct authentication *authentication)
{
    struct worker *worker = authentication->worker;
    struct network_address peer;

    if (client_cache_find(&worker->clients, authentication->id, &authentication->waiter))
        return;
    if (!pg_is_ready(&worker->pg)) {
        refuse_untold(authentication);
        return;
    }
    peer = peer_of(authentication->req);
    authentication->throttled =
        throttle_check(&worker->process->throttle, &peer, authentication->id, clock_monotonic_ms());
    if (authentication->throttled.wait_ms != 0)
        refuse(authentication);
    else
        authentication->began_look_up =
            client_cache_look_up(&worker->clients, authentication->id, &authentication->waiter);
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
    struct authentication *authentication =
        H2O_STRUCT_FROM_MEMBER(struct authentication, waiter, waiter);
    h2o_req_t *req = authentication->req;
    const struct client_secret *secret;
    enum auth_failure reason;

    if (status == CLIENT_UNAVAILABLE) {
        refuse_untold(authentication);
        return;
    }
    secret = client_authenticate(client, &authentication->digest, clock_unix_ms(), &reason);
    if (secret == NULL) {
        fail(authentication, reason, client != NULL);
        return;
    }
    authentication->credential = slice_of(secret->id);
    access_log_add(req, "client", client->id);
    if (!client->has_authenticated)
        throttle_know(&authentication->worker->process->throttle, client->id);
    client->has_authenticated = true;
    REPLY_HEADER(req, "x-cache-status", "X-Cache-Status", cache_status(source));
    authentication->on_client(authentication, client);
}

static void fail(struct authentication *authentication, enum auth_failure reason, bool exists)
{
    struct worker *worker = authentication->worker;

    authentication->is_guess =
        reason != AUTH_MALFORMED_SECRET && client_id_is_valid(authentication->id);
    note_failure(authentication->req, reason, authentication->id);
    if (authentication->is_guess && !pg_is_ready(&worker->pg)) {
        refuse_untold(authentication);
        return;
    }
    authentication->throttled =
        throttle_fail(&worker->process->throttle,
                      &(struct throttle_failure){
                          .peer = peer_of(authentication->req),
                          .id = authentication->is_guess ? authentication->id : SLICE(""),
                          .exists = exists,
                          .looked_up = authentication->began_look_up,
                      },
                      clock_monotonic_ms());
    refuse(authentication);
}

static void on_hold_over(struct timer *timer)
{
    struct authentication *authentication =
        H2O_STRUCT_FROM_MEMBER(struct authentication, hold, timer);

    if (authentication->cannot_tell)
        oauth_reply_try_later(authentication->req,
                              "The client cannot be looked up at the moment; try again later.");
    else if (authentication->throttled.wait_ms != 0)
        oauth_reply_slow_down(authentication->req, authentication->throttled);
    else
        oauth_reply_invalid_client(authentication->req);
}

void authenticate_stop(struct authentication *authentication)
{
    if (authentication->worker == NULL)
        return;
    timer_stop(&authentication->worker->http.timers, &authentication->hold);
    client_cache_stop_waiting(&authentication->waiter);
}
