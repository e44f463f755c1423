#include "auth/endpoint/health.h"

#include "auth/metrics.h"
#include "auth/worker.h"
#include "common/http/reply.h"

#define BODY_MAX 512

void health_handle(h2o_req_t *req)
{
    reply_no_store(req);
    reply_json(req, 200, SLICE("{\"status\":\"ok\"}"));
}

/* The overall state in one word. */
static const char *summary(bool ready, bool draining, bool degraded)
{
    if (draining)
        return "draining";
    if (!ready)
        return "unavailable";
    return degraded ? "degraded" : "ok";
}

/* The full reason is only logged: it may name hosts and users. */
static const char *postgres_state(const struct pg *pg, bool verified)
{
    if (pg_is_ready(pg))
        return "ok";
    switch (pg->reach) {
    case PG_PASSWORD_REFUSED:
        return "down: the password is wrong or missing";
    case PG_SETUP_REFUSED:
        return "down: it cannot be used as it is, nor with the schema that this jotd knows; see "
               "the log";
    default:
        return verified ? "down" : "down: never reached";
    }
}

/* Ready means able to issue: the process is verified, a key is active, records have room (or are
 * dropped), and it is not draining. Losing PostgreSQL or Redis later degrades it: cached clients
 * still get their tokens. */
void health_handle_ready(h2o_req_t *req)
{
    struct worker *worker = worker_of(req);
    bool verified = process_is_verified(worker->process);
    bool postgres = pg_is_ready(&worker->pg);
    bool keys = access_token_signer_is_set(&worker->keys.signer);
    bool draining = worker->http.draining;
    bool full = atomic_load(&worker->spool.full);
    bool redis = worker->limiter.mode != LIMITER_REDIS || redis_is_there(&worker->limiter.redis);
    bool unreadable = atomic_load(&worker->process->ledger.unreadable_directories) != 0;
    bool refusing = full && worker->process->settings.spool_full == ISSUE_REFUSE;
    bool ready = verified && keys && !refusing && !draining;
    char *body = h2o_mem_alloc_pool(&req->pool, BODY_MAX);
    int length = snprintf(body, BODY_MAX,
                          "{\"status\":\"%s\",\"postgres\":\"%s\",\"redis\":\"%s\",\"keys\":\"%s\","
                          "\"spool\":\"%s\"}",
                          summary(ready, draining, !postgres || !redis || full || unreadable),
                          postgres_state(&worker->pg, verified),
                          worker->limiter.mode != LIMITER_REDIS ? "not used"
                          : redis                               ? "ok"
                                                                : "down",
                          keys ? "ok" : "no active signing key",
                          refusing     ? "full: refusing tokens"
                          : full       ? "full: dropping records"
                          : unreadable ? "another user's directories: see jotd ledger status"
                                       : "ok");

    reply_no_store(req);
    reply_json(req, ready ? 200 : 503, (struct slice){body, (size_t)length});
}

void health_handle_metrics(h2o_req_t *req)
{
    struct worker *worker = worker_of(req);
    struct buffer *text = &worker->scratch;
    struct slice body;

    buffer_clear(text);
    metrics_write(text, worker->process, &worker->keys);
    body.bytes = h2o_strdup(&req->pool, text->bytes, text->size).base;
    body.length = text->size;
    reply(req, 200, SLICE("text/plain; version=0.0.4; charset=utf-8"), body);
}
