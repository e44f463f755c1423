/* Operators' paths: see health.h. The metrics are listed in exposition.c. */
#include "auth/health.h"

#include "auth/exposition.h"
#include "auth/reply.h"
#include "auth/worker.h"

void health_handle(h2o_req_t *req)
{
    reply_no_store(req);
    reply_json(req, 200, SLICE("{\"status\":\"ok\"}"));
}

/* The worst of what is the matter, in one word. */
static const char *summary(bool ready, bool draining, bool degraded)
{
    if (draining)
        return "draining";
    if (!ready)
        return "unavailable";
    return degraded ? "degraded" : "ok";
}

/* Ready is who can issue: it has verified the schema once, has a key, has room for records and does
 * not drain. PostgreSQL or Redis lost later degrades it: clients still get their tokens. */
void health_handle_ready(h2o_req_t *req)
{
    struct worker *worker = worker_of(req);
    bool verified = process_is_verified(worker->process);
    bool postgres = pg_is_ready(&worker->pg);
    bool keys = access_token_signer_is_set(&worker->keys.signer);
    bool draining = worker->draining;
    bool full = atomic_load(&worker->spool.full);
    bool redis = worker->limits.mode != LIMITER_REDIS || redis_is_ready(&worker->limits.redis);
    bool refusing = full && worker->process->settings.spool_full == SPOOL_FULL_REFUSE;
    bool ready = verified && keys && !refusing && !draining;
    char *body = h2o_mem_alloc_pool(&req->pool, 320);
    int length = snprintf(body, 320,
                          "{\"status\":\"%s\",\"postgres\":\"%s\",\"redis\":\"%s\",\"keys\":\"%s\","
                          "\"spool\":\"%s\"}",
                          summary(ready, draining, !postgres || !redis || full),
                          postgres   ? "ok"
                          : verified ? "down"
                                     : "never reached with the schema that this jotd knows",
                          worker->limits.mode != LIMITER_REDIS ? "not used"
                          : redis                              ? "ok"
                                                               : "down",
                          keys ? "ok" : "no active signing key",
                          refusing ? "full: refusing tokens"
                          : full   ? "full: dropping records"
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
    exposition_write(text, worker->process, &worker->keys);
    body.bytes = h2o_strdup(&req->pool, text->bytes, text->size).base;
    body.length = text->size;
    reply(req, 200, SLICE("text/plain; version=0.0.4; charset=utf-8"), body);
}
