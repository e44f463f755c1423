/* The metrics, in the order in which they appear.
 *
 * A client id is never a label: their number is unbounded.
 */
#include "auth/metrics.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "auth/client/auth_log.h"
#include "auth/pending.h"
#include "auth/quota/tier.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/prometheus.h"

static const char *const endpoint_names[ENDPOINT_COUNT] = {
    [ENDPOINT_TOKEN] = "/token",
    [ENDPOINT_INTROSPECT] = "/introspect",
    [ENDPOINT_REVOKE] = "/revoke",
    [ENDPOINT_REVOCATIONS] = "/revocations",
    [ENDPOINT_METADATA] = "/.well-known/oauth-authorization-server",
    [ENDPOINT_JWKS] = "/.well-known/jwks.json",
    [ENDPOINT_OPENAPI] = "/openapi.json",
    [ENDPOINT_HEALTH] = "/health",
    [ENDPOINT_READY] = "/ready",
    [ENDPOINT_METRICS] = "/metrics",
    [ENDPOINT_ADMIN] = "/admin",
    [ENDPOINT_OTHER] = "other",
};

static const char *const lookup_names[LOOKUP_RESULT_COUNT] = {
    [LOOKUP_FOUND] = "found",
    [LOOKUP_UNKNOWN] = "unknown",
    [LOOKUP_ERROR] = "error",
};

static struct histogram merge(const struct process *process, size_t offset)
{
    struct histogram total = {0};

    for (size_t i = 0; i != process->worker_count; ++i)
        histogram_merge(&total,
                        (const struct histogram *)((const char *)&process->workers[i].counters +
                                                   offset));
    return total;
}

#define OFFSET(field) offsetof(struct counters, field)

/* The offset of element `i` of an array field. */
#define OFFSET_AT(field, i) (OFFSET(field) + (i) * sizeof(((struct counters *)0)->field[0]))

/* All codes of /token and /introspect appear from the start, since a rate does not see the step
 * from no series to the first count. Other series appear once they count something. */
static bool is_shown(enum endpoint endpoint, int code, uint64_t count)
{
    return count != 0 ||
           (code != 0 && (endpoint == ENDPOINT_TOKEN || endpoint == ENDPOINT_INTROSPECT));
}

static void write_connections(struct buffer *text, const struct process *process)
{
    struct memory_budget *memory =
        (struct memory_budget *)&process->http.connections.memory; /* reading locks its mutex */
    uint64_t open = 0;

    for (size_t i = 0; i != process->worker_count; ++i)
        open += (uint64_t)http_loop_connections(&process->workers[i].http);
    prometheus_family(text, "jotd_http_connections", "gauge", "Open client connections.");
    prometheus_value(text, "jotd_http_connections", "", open);
    prometheus_family(text, "jotd_http_buffered_bytes", "gauge",
                      "Memory held by requests that are unfinished, or pipelined behind another.");
    prometheus_value(text, "jotd_http_buffered_bytes", "", memory_budget_held(memory));
    prometheus_family(text, "jotd_http_buffered_max_bytes", "gauge",
                      "The limit of that memory, JOTD_MEMORY_BUDGET.");
    prometheus_value(text, "jotd_http_buffered_max_bytes", "", memory->limit);
}

static void write_requests(struct buffer *text, const struct process *process)
{
    static const int codes[COUNTERS_STATUS_COUNT] = COUNTERS_STATUS_CODES;
    char labels[128];
    size_t size = 0;

    prometheus_family(text, "jotd_http_requests_total", "counter", "Requests by path and status.");
    for (size_t e = 0; e != ENDPOINT_COUNT; ++e) {
        for (size_t s = 0; s != COUNTERS_STATUS_COUNT; ++s) {
            uint64_t count =
                workers_sum(process, OFFSET_AT(requests, e) + s * sizeof(struct counter));

            if (!is_shown((enum endpoint)e, codes[s], count))
                continue;
            size = (size_t)snprintf(labels, sizeof(labels), "endpoint=\"%s\",code=\"",
                                    endpoint_names[e]);
            snprintf(labels + size, sizeof(labels) - size, codes[s] != 0 ? "%d\"" : "other\"",
                     codes[s]);
            prometheus_value(text, "jotd_http_requests_total", labels, count);
        }
    }
    prometheus_family(text, "jotd_http_request_duration_seconds", "histogram",
                      "Time from the complete request to the sent answer.");
    for (size_t e = 0; e != ENDPOINT_COUNT; ++e) {
        struct histogram total = merge(process, OFFSET_AT(request_durations, e));

        snprintf(labels, sizeof(labels), "endpoint=\"%s\"", endpoint_names[e]);
        prometheus_histogram(text, "jotd_http_request_duration_seconds", labels, &total);
    }
}

static const char *const throttled_by[THROTTLE_BY_COUNT] = {
    [THROTTLE_PEER] = "by=\"peer\"",
    [THROTTLE_ID] = "by=\"client\"",
    [THROTTLE_ALL] = "by=\"process\"",
};

/* Named tiers also appear from the start; `other` only once it counts something. */
static bool is_known(unsigned tier, uint64_t count)
{
    return tier == TIER_MAX - 1 ? count != 0 : tier_name(tier) != NULL;
}

static void write_tokens(struct buffer *text, const struct process *process)
{
    char labels[128];

    prometheus_family(text, "jotd_tokens_issued_total", "counter", "Access tokens issued by tier.");
    for (unsigned t = 0; t != TIER_MAX; ++t) {
        uint64_t count = workers_sum(process, OFFSET_AT(issue.issued, t));

        if (!is_known(t, count))
            continue;
        snprintf(labels, sizeof(labels), "tier=\"%s\"", tier_name(t));
        prometheus_value(text, "jotd_tokens_issued_total", labels, count);
    }
    prometheus_family(text, "jotd_token_errors_total", "counter",
                      "Token requests refused, by error.");
    for (size_t e = 0; e != OAUTH_ERROR_COUNT; ++e) {
        snprintf(labels, sizeof(labels), "error=\"%s\"", oauth_error_name((enum oauth_error)e));
        prometheus_value(text, "jotd_token_errors_total", labels,
                         workers_sum(process, OFFSET_AT(oauth_errors, e)));
    }
    prometheus_family(text, "jotd_auth_failures_total", "counter",
                      "Authentications that failed, by reason.");
    for (size_t r = 0; r != AUTH_FAILURE_COUNT; ++r) {
        snprintf(labels, sizeof(labels), "reason=\"%s\"", auth_failure_name((enum auth_failure)r));
        prometheus_value(text, "jotd_auth_failures_total", labels,
                         workers_sum(process, OFFSET_AT(auth_failures, r)));
    }
    prometheus_family(text, "jotd_auth_throttled_total", "counter",
                      "Authentications refused after too many failures, by whose failures.");
    for (size_t by = 0; by != THROTTLE_BY_COUNT; ++by)
        prometheus_value(text, "jotd_auth_throttled_total", throttled_by[by],
                         workers_sum(process, OFFSET_AT(auth_throttled, by)));
    prometheus_family(text, "jotd_sign_duration_seconds", "histogram",
                      "Time to write and sign one token, by algorithm.");
    for (size_t a = 0; a != KEY_ALG_COUNT; ++a) {
        struct histogram total = merge(process, OFFSET_AT(issue.sign_durations, a));

        snprintf(labels, sizeof(labels), "alg=\"%s\"", key_alg_name((enum key_alg)a));
        prometheus_histogram(text, "jotd_sign_duration_seconds", labels, &total);
    }
}

static void write_cache(struct buffer *text, const struct process *process)
{
    static const struct {
        const char *name, *help;
        size_t offset;
    } counters[] = {
        {"jotd_client_cache_hits_total", "Clients found fresh in the cache.", OFFSET(cache.hits)},
        {"jotd_client_cache_misses_total", "Clients that had to be looked up.",
         OFFSET(cache.misses)},
        {"jotd_client_cache_stale_total", "Expired clients served while PostgreSQL was away.",
         OFFSET(cache.stale)},
        {"jotd_client_cache_invalidations_total", "Entries dropped because the client was changed.",
         OFFSET(cache.invalidations)},
        {"jotd_client_cache_evictions_total", "Entries evicted to make room.",
         OFFSET(cache.evictions)},
        {"jotd_client_cache_expirations_total", "Entries that had expired.",
         OFFSET(cache.expirations)},
        {"jotd_client_cache_warmed_total", "Clients loaded at start.", OFFSET(cache.warmed)},
        {"jotd_client_rechecks_total",
         "Statements that looked clients up again after a change of all clients.",
         OFFSET(cache.rechecks)},
    };
    /* Read in this order, as workers keep counting: so `removed` never exceeds `added`. */
    uint64_t removed = workers_sum(process, OFFSET(cache.removed));
    uint64_t added = workers_sum(process, OFFSET(cache.added)), capacity = 0;

    for (size_t i = 0; i != COUNT_OF(counters); ++i) {
        prometheus_family(text, counters[i].name, "counter", counters[i].help);
        prometheus_value(text, counters[i].name, "", workers_sum(process, counters[i].offset));
    }
    for (size_t i = 0; i != process->worker_count; ++i)
        capacity += process->workers[i].clients.records.capacity;
    prometheus_family(text, "jotd_client_cache_entries", "gauge", "Cached clients of all workers.");
    prometheus_value(text, "jotd_client_cache_entries", "", added - removed);
    prometheus_family(text, "jotd_client_cache_capacity", "gauge",
                      "Clients that the caches of all workers can hold.");
    prometheus_value(text, "jotd_client_cache_capacity", "", capacity);
}

static void write_lookups(struct buffer *text, const struct process *process)
{
    struct histogram total = merge(process, OFFSET(cache.lookup_durations));
    bool up = true;
    char labels[64];

    for (size_t i = 0; i != process->worker_count; ++i)
        up = up && atomic_load(&process->workers[i].has_postgres);
    prometheus_family(text, "jotd_postgres_up", "gauge",
                      "1 while every worker has its look-up connection to PostgreSQL.");
    prometheus_value(text, "jotd_postgres_up", "", up);
    prometheus_family(text, "jotd_client_lookups_total", "counter",
                      "Look-ups of clients in PostgreSQL by result.");
    for (size_t r = 0; r != LOOKUP_RESULT_COUNT; ++r) {
        snprintf(labels, sizeof(labels), "result=\"%s\"", lookup_names[r]);
        prometheus_value(text, "jotd_client_lookups_total", labels,
                         workers_sum(process, OFFSET_AT(cache.lookups, r)));
    }
    prometheus_family(text, "jotd_client_lookup_duration_seconds", "histogram",
                      "Time from asking PostgreSQL for a client to its answer.");
    prometheus_histogram(text, "jotd_client_lookup_duration_seconds", "", &total);
}

static void write_ledger(struct buffer *text, const struct process *process)
{
    static const char *const triggers[SPOOL_TRIGGER_COUNT] = {
        [SPOOL_ROWS] = "rows",
        [SPOOL_INTERVAL] = "interval",
        [SPOOL_SHUTDOWN] = "shutdown",
        [SPOOL_RECOVERY] = "recovery",
    };
    struct ledger *ledger = (struct ledger *)&process->ledger; /* reading locks its mutex */
    struct pending pending = pending_read(process);
    char labels[64];

    prometheus_family(text, "jotd_ledger_rows_pending", "gauge",
                      "Recorded tokens that are not in PostgreSQL yet.");
    prometheus_value(text, "jotd_ledger_rows_pending", "", pending.rows);
    prometheus_family(text, "jotd_ledger_oldest_pending_seconds", "gauge",
                      "Age of the oldest of them; 0 when there is none.");
    buffer_printf(text, "jotd_ledger_oldest_pending_seconds %.3f\n",
                  pending.oldest_unix_ms == 0
                      ? 0
                      : (double)(clock_unix_ms() - pending.oldest_unix_ms) / 1e3);
    prometheus_family(text, "jotd_ledger_spool_bytes", "gauge", "Bytes of segments in the spool.");
    prometheus_value(text, "jotd_ledger_spool_bytes", "",
                     atomic_load(&ledger->spool.bytes) + atomic_load(&ledger->recovering_bytes));
    prometheus_family(text, "jotd_ledger_spool_max_bytes", "gauge",
                      "The size limit of the spool, JOTD_SPOOL_MAX_BYTES.");
    prometheus_value(text, "jotd_ledger_spool_max_bytes", "",
                     (uint64_t)process->settings.spool_max_bytes);
    prometheus_family(text, "jotd_ledger_rows_written_total", "counter",
                      "Rows that were committed.");
    prometheus_value(text, "jotd_ledger_rows_written_total", "",
                     counter_read(&ledger->sender.rows_written));
    prometheus_family(text, "jotd_ledger_rows_rejected_total", "counter",
                      "Rows that PostgreSQL refused for their content; they are set aside.");
    prometheus_value(text, "jotd_ledger_rows_rejected_total", "",
                     counter_read(&ledger->sender.rows_rejected));
    prometheus_family(text, "jotd_ledger_files_passed_over_total", "counter",
                      "Files of the spool that cannot be sent: not usable as segments, or lost.");
    prometheus_value(text, "jotd_ledger_files_passed_over_total", "",
                     counter_read(&ledger->sender.passed_over.files));
    prometheus_family(
        text, "jotd_ledger_directories", "gauge",
        "Directories of the spool whose process has ended, or that belong to another user "
        "and cannot be read.");
    prometheus_value(text, "jotd_ledger_directories", "state=\"abandoned\"",
                     atomic_load(&ledger->abandoned_directories));
    prometheus_value(text, "jotd_ledger_directories", "state=\"unreadable\"",
                     atomic_load(&ledger->unreadable_directories));
    prometheus_family(text, "jotd_ledger_rows_dropped_total", "counter",
                      "Tokens issued without a record, for want of room (JOTD_SPOOL_FULL=drop).");
    prometheus_value(text, "jotd_ledger_rows_dropped_total", "",
                     workers_sum(process, OFFSET(issue.dropped)));
    prometheus_family(text, "jotd_ledger_batches_total", "counter", "Batches by what closed them.");
    for (size_t t = 0; t != SPOOL_TRIGGER_COUNT; ++t) {
        snprintf(labels, sizeof(labels), "trigger=\"%s\"", triggers[t]);
        prometheus_value(text, "jotd_ledger_batches_total", labels,
                         counter_read(&ledger->sender.batches[t]));
    }
    prometheus_family(text, "jotd_ledger_flush_errors_total", "counter",
                      "Flushes that failed and are tried again.");
    prometheus_value(text, "jotd_ledger_flush_errors_total", "",
                     counter_read(&ledger->flush_errors));
    prometheus_family(
        text, "jotd_ledger_maintenance_errors_total", "counter",
        "Failures of the daily maintenance in PostgreSQL: partitions, forgotten batches.");
    prometheus_value(text, "jotd_ledger_maintenance_errors_total", "",
                     counter_read(&ledger->maintenance_errors));
    prometheus_family(text, "jotd_ledger_maintenance_failing", "gauge",
                      "1 while the last maintenance has failed.");
    prometheus_value(text, "jotd_ledger_maintenance_failing", "",
                     atomic_load(&ledger->maintenance_fails));
    prometheus_family(text, "jotd_ledger_flush_duration_seconds", "histogram",
                      "Time to write closed segments in one transaction.");
    prometheus_histogram(text, "jotd_ledger_flush_duration_seconds", "", &ledger->flush_durations);
}

static void write_verification(struct buffer *text, const struct process *process)
{
    static const char *const results[INTROSPECTION_RESULT_COUNT] = {
        [INTROSPECTION_ACTIVE] = "active",
        [INTROSPECTION_MALFORMED] = "malformed",
        [INTROSPECTION_UNKNOWN_KEY] = "unknown_key",
        [INTROSPECTION_OTHER_ISSUER] = "other_issuer",
        [INTROSPECTION_EXPIRED] = "expired",
        [INTROSPECTION_BAD_SIGNATURE] = "bad_signature",
        [INTROSPECTION_NOT_PERMITTED] = "not_permitted",
        [INTROSPECTION_REVOKED] = "revoked",
        [INTROSPECTION_NO_CLIENT] = "no_client",
        [INTROSPECTION_UNAVAILABLE] = "unavailable",
    };
    char labels[64];

    prometheus_family(
        text, "jotd_introspections_total", "counter",
        "Tokens asked about at /introspect, by result; all but active and unavailable "
        "are answered as inactive.");
    for (size_t r = 0; r != INTROSPECTION_RESULT_COUNT; ++r) {
        snprintf(labels, sizeof(labels), "result=\"%s\"", results[r]);
        prometheus_value(text, "jotd_introspections_total", labels,
                         workers_sum(process, OFFSET_AT(introspections, r)));
    }
    prometheus_family(text, "jotd_token_verifications_total", "counter",
                      "Signatures of tokens that were verified, or remembered as verified.");
    prometheus_value(text, "jotd_token_verifications_total", "from=\"signature\"",
                     workers_sum(process, OFFSET(verification.verified)));
    prometheus_value(text, "jotd_token_verifications_total", "from=\"memory\"",
                     workers_sum(process, OFFSET(verification.remembered)));
}

static void write_revocations(struct buffer *text, const struct process *process)
{
    const struct denylist *denylist = &process->feed.denylist;
    uint64_t complete_ms = atomic_load(&denylist->complete_ms);

    prometheus_family(text, "jotd_revocations_total", "counter",
                      "Tokens revoked by their clients at /revoke.");
    prometheus_value(text, "jotd_revocations_total", "", workers_sum(process, OFFSET(revocations)));
    prometheus_family(text, "jotd_revoked_tokens", "gauge",
                      "Revoked tokens in memory that have not expired, as of the last minute.");
    prometheus_value(text, "jotd_revoked_tokens", "", atomic_load(&denylist->live));
    prometheus_family(text, "jotd_revoked_tokens_max", "gauge",
                      "How many fit; beyond it /introspect answers 503.");
    prometheus_value(text, "jotd_revoked_tokens_max", "", DENYLIST_MAX);
    prometheus_family(text, "jotd_revocation_feed_age_seconds", "gauge",
                      "Age of the last moment up to which all revocations are known; +Inf before "
                      "the first.");
    if (complete_ms != 0)
        buffer_printf(text, "jotd_revocation_feed_age_seconds %.3f\n",
                      (double)(clock_monotonic_ms() - complete_ms) / 1e3);
    else
        buffer_append_text(text, "jotd_revocation_feed_age_seconds +Inf\n");
}

static void write_limiter(struct buffer *text, const struct process *process)
{
    static const char *const decisions[LIMITER_DECISION_COUNT] = {
        [LIMITER_GRANTED] = "granted",
        [LIMITER_REFUSED] = "refused",
        [LIMITER_ALLOWED] = "allowed",
        [LIMITER_DENIED] = "denied",
    };
    struct histogram durations = merge(process, OFFSET(limiter.durations));
    char labels[128];

    prometheus_family(
        text, "jotd_limiter_decisions_total", "counter",
        "Decisions on token requests; allowed and denied are those made without Redis.");
    for (unsigned t = 0; t != TIER_MAX; ++t) {
        for (size_t d = 0; d != LIMITER_DECISION_COUNT; ++d) {
            uint64_t count =
                workers_sum(process, OFFSET_AT(limiter.decisions, t) + d * sizeof(struct counter));

            if (!is_known(t, count))
                continue;
            snprintf(labels, sizeof(labels), "tier=\"%s\",decision=\"%s\"", tier_name(t),
                     decisions[d]);
            prometheus_value(text, "jotd_limiter_decisions_total", labels, count);
        }
    }
    prometheus_family(text, "jotd_limiter_near_limit_total", "counter",
                      "Tokens granted past 80 % of a window.");
    for (unsigned t = 0; t != TIER_MAX; ++t) {
        uint64_t count = workers_sum(process, OFFSET_AT(limiter.near_limit, t));

        if (!is_known(t, count))
            continue;
        snprintf(labels, sizeof(labels), "tier=\"%s\"", tier_name(t));
        prometheus_value(text, "jotd_limiter_near_limit_total", labels, count);
    }
    prometheus_family(text, "jotd_limiter_backend_duration_seconds", "histogram",
                      "Time that Redis takes to answer one call, for up to 64 clients.");
    prometheus_histogram(text, "jotd_limiter_backend_duration_seconds", "", &durations);
    prometheus_family(
        text, "jotd_limiter_backend_errors_total", "counter",
        "Calls, or clients in a call, that Redis answered with an error or not at all.");
    prometheus_value(text, "jotd_limiter_backend_errors_total", "",
                     workers_sum(process, OFFSET(limiter.backend_errors)));
    prometheus_family(text, "jotd_limiter_fallback_decisions_total", "counter",
                      "Decisions made without Redis (JOTD_LIMITER_ON_ERROR).");
    prometheus_value(text, "jotd_limiter_fallback_decisions_total", "",
                     workers_sum(process, OFFSET(limiter.without_redis)));
    prometheus_family(text, "jotd_limiter_fallback", "gauge",
                      "1 while a worker is without its Redis.");
    prometheus_value(text, "jotd_limiter_fallback", "",
                     atomic_load(&process->limiter.fallen_back) != 0);
}

static void write_keys(struct buffer *text, const struct keyring_view *keys)
{
    int64_t now = clock_unix_ms() / 1000;
    char labels[128];

    prometheus_family(text, "jotd_signing_key_info", "gauge", "Signing keys by state.");
    for (size_t i = 0; keys->set != NULL && i != keys->set->count; ++i) {
        const struct signing_key *key = keys->set->keys + i;

        snprintf(labels, sizeof(labels), "kid=\"%s\",alg=\"%s\",state=\"%s\"", key->kid,
                 key_alg_name(key->alg), key_set_state_name(key_set_state(keys->set, key, now)));
        prometheus_value(text, "jotd_signing_key_info", labels, 1);
    }
    prometheus_family(text, "jotd_signing_key_retires_timestamp_seconds", "gauge",
                      "When a signing key stops being published; +Inf if that is not set.");
    for (size_t i = 0; keys->set != NULL && i != keys->set->count; ++i) {
        const struct signing_key *key = keys->set->keys + i;

        snprintf(labels, sizeof(labels), "kid=\"%s\",alg=\"%s\"", key->kid, key_alg_name(key->alg));
        if (key->retire_at != 0)
            prometheus_value(text, "jotd_signing_key_retires_timestamp_seconds", labels,
                             (uint64_t)key->retire_at);
        else
            buffer_printf(text, "jotd_signing_key_retires_timestamp_seconds{%s} +Inf\n", labels);
    }
}

static void write_loops(struct buffer *text, const struct process *process)
{
    struct histogram total = merge(process, OFFSET(loop_lag));

    prometheus_family(
        text, "jotd_loop_lag_seconds", "histogram",
        "Duration of the turns of the workers' event loops, which other requests wait for.");
    prometheus_histogram(text, "jotd_loop_lag_seconds", "", &total);
}

void metrics_write(struct buffer *text, const struct process *process,
                   const struct keyring_view *keys)
{
    prometheus_family(text, "jotd_build_info", "gauge", "The version that runs.");
    prometheus_value(text, "jotd_build_info", "version=\"" JOTD_VERSION "\"", 1);
    write_requests(text, process);
    write_connections(text, process);
    write_tokens(text, process);
    write_cache(text, process);
    write_lookups(text, process);
    write_limiter(text, process);
    write_verification(text, process);
    write_revocations(text, process);
    write_ledger(text, process);
    write_keys(text, keys);
    write_loops(text, process);
    prometheus_family(text, "jotd_log_dropped_total", "counter",
                      "Log lines dropped because stderr was not read fast enough.");
    prometheus_value(text, "jotd_log_dropped_total", "", log_dropped());
    prometheus_process(text);
}
