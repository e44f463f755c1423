/* Functions appear in the order in which a request runs through them: taken, sent at the end of the
 * pass, answered by Redis or without it.
 */
#include "auth/quota/limiter.h"

#include <h2o.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "auth/quota/windows.h"
#include "common/clock.h"
#include "common/log.h"

#define CONNECT_TIMEOUT_MS 1000

/* All requests for one client in one pass. */
struct limiter_ask {
    struct limiter_ask *prev, *next;
    struct client *client; /* holds a reference */
    struct limiter_waiter *waiters;
    int64_t asked; /* tokens, when sent; waiters may have left since */
};

/* One call of the script, for clients of one pass. */
struct limiter_call {
    struct redis_call redis;
    struct limiter *limiter;
    struct limiter_ask *asks; /* in the order of the keys */
    size_t keys;
    uint64_t started_us;
    bool by_name; /* false: resent with the whole script after NOSCRIPT */
};

/* Usage of one client, in the process's own table. */
struct local_windows {
    struct lru_entry entry;
    struct windows windows;
    char id[CLIENT_ID_MAX];
};

/* Without Redis */

void limiter_shared_open(struct limiter_shared *shared)
{
    *shared = (struct limiter_shared){.boot_unix_ms = clock_unix_ms() - clock_boot_ms(),
                                      .local.capacity = LIMITER_LOCAL_MAX};
    pthread_mutex_init(&shared->mutex, NULL);
}

static void free_local(struct lru_entry *entry)
{
    if (entry != NULL)
        free(H2O_STRUCT_FROM_MEMBER(struct local_windows, entry, entry));
}

void limiter_shared_close(struct limiter_shared *shared)
{
    struct lru_entry *entry;

    while ((entry = lru_oldest(&shared->local)) != NULL) {
        lru_remove(&shared->local, entry);
        free_local(entry);
    }
    pthread_mutex_destroy(&shared->mutex);
}

static struct local_windows *find_local(struct limiter_shared *shared, struct slice id)
{
    struct lru_entry *entry = lru_find(&shared->local, id);
    struct local_windows *local;

    if (entry != NULL)
        return H2O_STRUCT_FROM_MEMBER(struct local_windows, entry, entry);
    local = h2o_mem_alloc(sizeof(*local));
    *local = (struct local_windows){.entry.key = {local->id, id.length}};
    memcpy(local->id, id.bytes, id.length);
    free_local(lru_add(&shared->local, &local->entry));
    return local;
}

static void decide(struct limiter *limiter, const struct client *client,
                   struct limiter_waiter *waiter, enum limiter_decision decision,
                   const struct quota_left *left)
{
    if (waiter->asks)
        counter_add(&limiter->counters->decisions[client->tier][decision], 1);
    for (size_t w = 0; left != NULL && decision == LIMITER_GRANTED && w != QUOTA_WINDOWS; ++w) {
        if (waiter->asks && client->quota.limits[w] != 0 &&
            quota_is_near_limit(client->quota.limits[w], left->remaining[w])) {
            counter_add(&limiter->counters->near_limit[client->tier], 1);
            break;
        }
    }
    waiter->on_decision(waiter, decision, left);
}

/* The wall clock at start, advanced by the boot clock: setting the wall clock must not hand
 * everyone a fresh quota. */
static int64_t local_now_ms(const struct limiter_shared *shared)
{
    return shared->boot_unix_ms + clock_boot_ms();
}

static void decide_locally(struct limiter *limiter, const struct client *client,
                           struct limiter_waiter *waiter)
{
    struct limiter_shared *shared = limiter->shared;
    int64_t now_ms = local_now_ms(shared);
    struct quota_left left;
    int64_t granted;

    pthread_mutex_lock(&shared->mutex);
    granted = windows_take(&find_local(shared, client->id)->windows, &client->quota, waiter->asks,
                           now_ms, &left);
    pthread_mutex_unlock(&shared->mutex);
    decide(limiter, client, waiter, granted == waiter->asks ? LIMITER_GRANTED : LIMITER_REFUSED,
           &left);
}

static void decide_without_redis(struct limiter *limiter, const struct client *client,
                                 struct limiter_waiter *waiter)
{
    if (limiter->mode == LIMITER_REDIS)
        counter_add(&limiter->counters->without_redis, 1);
    if (limiter->mode == LIMITER_LOCAL || limiter->on_error == LIMITER_ON_ERROR_LOCAL)
        decide_locally(limiter, client, waiter);
    else
        decide(limiter, client, waiter,
               limiter->on_error == LIMITER_ON_ERROR_ALLOW ? LIMITER_ALLOWED : LIMITER_DENIED,
               NULL);
}

/* Taken */

bool limiter_refuse_again(struct limiter *limiter, struct client *client,
                          struct limiter_waiter *waiter)
{
    struct quota_left left;
    uint64_t now_ms;

    if (client->refused_until_ms == 0)
        return false;
    now_ms = clock_monotonic_ms();
    if (now_ms >= client->refused_until_ms) {
        client->refused_until_ms = 0;
        return false;
    }
    left = client->refused_left;
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        left.reset_in_ms[w] -= (int64_t)(now_ms - client->refused_at_ms);
    waiter->ask = NULL;
    decide(limiter, client, waiter, LIMITER_REFUSED, &left);
    return true;
}

void limiter_take(struct limiter *limiter, struct client *client, struct limiter_waiter *waiter)
{
    struct limiter_ask *ask = client->ask;

    waiter->ask = NULL;
    if (limiter->mode == LIMITER_OFF || quota_is_unlimited(&client->quota)) {
        decide(limiter, client, waiter, LIMITER_GRANTED, NULL);
        return;
    }
    if (limiter->mode == LIMITER_LOCAL || !redis_is_ready(&limiter->redis)) {
        decide_without_redis(limiter, client, waiter);
        return;
    }
    if (ask == NULL) {
        client->ask = ask = h2o_mem_alloc(sizeof(*ask));
        *ask = (struct limiter_ask){.client = client};
        client_keep(client);
        DL_APPEND(limiter->asks, ask);
    }
    waiter->ask = ask;
    DL_APPEND(ask->waiters, waiter);
}

void limiter_stop_waiting(struct limiter_waiter *waiter)
{
    if (waiter->ask != NULL) {
        DL_DELETE(waiter->ask->waiters, waiter);
        waiter->ask = NULL;
    }
}

/* Sent */

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason);

static bool send_call(struct limiter_call *call)
{
    struct limiter_ask *ask;
    const struct limiter_waiter *waiter;
    struct limiter_script_call script;

    limiter_script_begin(&script, call->by_name);
    DL_FOREACH (call->asks, ask) {
        ask->asked = 0;
        DL_FOREACH (ask->waiters, waiter)
            ask->asked += waiter->asks;
        limiter_script_ask(&script, ask->client->id, ask->asked, &ask->client->quota);
    }
    call->redis.on_reply = on_reply;
    call->keys = script.keys;
    return redis_send(&call->limiter->redis, &call->redis, script.count, script.arguments,
                      script.lengths);
}

static void end_ask(struct limiter_ask *ask)
{
    client_release(ask->client);
    free(ask);
}

/* Decides for all waiters without Redis. */
static void give_up_ask(struct limiter *limiter, struct limiter_ask *ask)
{
    while (ask->waiters != NULL) {
        struct limiter_waiter *waiter = ask->waiters;

        limiter_stop_waiting(waiter);
        decide_without_redis(limiter, ask->client, waiter);
    }
    end_ask(ask);
}

static void give_up(struct limiter_call *call)
{
    while (call->asks != NULL) {
        struct limiter_ask *ask = call->asks;

        DL_DELETE(call->asks, ask);
        give_up_ask(call->limiter, ask);
    }
    free(call);
}

/* Takes as many of this pass's requests as one call may hold. */
static struct limiter_call *make_call(struct limiter *limiter)
{
    struct limiter_call *call = h2o_mem_alloc(sizeof(*call));
    size_t keys = 0;

    *call = (struct limiter_call){.limiter = limiter,
                                  .started_us = clock_monotonic_us(),
                                  .by_name = true};
    while (limiter->asks != NULL && keys != limiter->keys_per_call) {
        struct limiter_ask *ask = limiter->asks;

        DL_DELETE(limiter->asks, ask);
        ask->client->ask = NULL;
        if (ask->waiters == NULL) {
            end_ask(ask);
            continue;
        }
        DL_APPEND(call->asks, ask);
        ++keys;
    }
    return call;
}

void limiter_end_pass(struct limiter *limiter)
{
    while (limiter->asks != NULL) {
        struct limiter_call *call = make_call(limiter);

        if (call->asks == NULL || !send_call(call))
            give_up(call);
    }
    redis_flush(&limiter->redis);
}

/* Answered */

/* Refuse without asking Redis until one more token would be granted. */
static void remember_refusal(struct client *client, const struct quota_left *left)
{
    client->refused_left = *left;
    client->refused_at_ms = clock_monotonic_ms();
    client->refused_until_ms =
        client->refused_at_ms + (uint64_t)left->reset_in_ms[quota_binding(&client->quota, left)];
}

/* Answers in order of arrival, each with what is left after it. */
static void answer(struct limiter *limiter, struct limiter_ask *ask, int64_t granted,
                   struct quota_left *left)
{
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        left->remaining[w] += granted;
    while (ask->waiters != NULL) {
        struct limiter_waiter *waiter = ask->waiters;
        bool refused = waiter->asks && granted == 0;

        if (waiter->asks && !refused) {
            --granted;
            for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
                --left->remaining[w];
        }
        if (refused && ask->client->refused_until_ms == 0)
            remember_refusal(ask->client, left);
        limiter_stop_waiting(waiter);
        decide(limiter, ask->client, waiter, refused ? LIMITER_REFUSED : LIMITER_GRANTED, left);
    }
    end_ask(ask);
}

/* Errors caused by the server's state rather than by this call: Redis is unusable until that
 * changes. Up to Redis 6, a command's error inside a script follows its position in the script:
 * "ERR Error running script (call to f_…): @user_script:1: @user_script: 1: -READONLY …". */
static bool cannot_serve(const char *error)
{
    static const char *const codes[] = {"READONLY ",   "LOADING ",  "OOM ",         "MISCONF ",
                                        "MASTERDOWN ", "NOAUTH ",   "NOPERM ",      "BUSY ",
                                        "NOREPLICAS ", "TRYAGAIN ", "CLUSTERDOWN ", "MOVED ",
                                        "ASK "};

    const char *of_command =
        strncmp(error, "ERR Error running script", 24) == 0 ? strstr(error, ": -") : NULL;

    if (of_command != NULL)
        error = of_command + 3;
    for (size_t i = 0; i != COUNT_OF(codes); ++i) {
        if (strncmp(error, codes[i], strlen(codes[i])) == 0)
            return true;
    }
    return false;
}

/* Logs at most one line a second: the error may affect one client's key or every call. */
static void note_error(struct limiter *limiter, struct slice client_id, const char *error)
{
    uint64_t now_ms = clock_monotonic_ms();

    counter_add(&limiter->counters->backend_errors, 1);
    if (now_ms - limiter->error_logged_ms < 1000)
        return;
    limiter->error_logged_ms = now_ms;
    log_warn("limiter.error", log_slice("client", client_id), log_str("reason", error));
}

/* A Redis Cluster behind one address rejects calls with keys of several slots: from now on, send
 * one call per client. */
static void send_one_by_one(struct limiter_call *call)
{
    if (call->limiter->keys_per_call != 1)
        log_info("limiter.one_by_one",
                 log_str("reason", "Redis takes no call for the keys of several clients"));
    call->limiter->keys_per_call = 1;
    DL_CONCAT(call->limiter->asks, call->asks); /* resent at the end of this pass */
    free(call);
}

static void on_error_reply(struct limiter_call *call, const char *error)
{
    if (strncmp(error, "CROSSSLOT", 9) == 0 && call->keys > 1) {
        send_one_by_one(call);
        return;
    }
    if (strncmp(error, "NOSCRIPT", 8) == 0 && call->by_name) {
        call->by_name = false;
        if (send_call(call))
            return;
    }
    note_error(call->limiter, call->asks->client->id, error);
    if (cannot_serve(error))
        redis_give_up(&call->limiter->redis,
                      "Redis refuses writes: it is read-only, full or "
                      "loading, lacks a permission, or is a part of a Cluster");
    give_up(call);
}

static void on_answer(struct limiter_call *call, const redisReply *reply)
{
    struct limiter *limiter = call->limiter;
    struct limiter_script_taken taken;

    for (size_t i = 0; i != call->keys; ++i) {
        struct limiter_ask *ask = call->asks;

        if (!limiter_script_read(reply, call->keys, i, ask->asked, &ask->client->quota, &taken)) {
            note_error(limiter, ask->client->id, "this is not the script's answer");
            break;
        }
        DL_DELETE(call->asks, ask);
        if (taken.granted < 0) {
            note_error(limiter, ask->client->id, "its key holds something else than a quota");
            give_up_ask(limiter, ask);
            continue;
        }
        answer(limiter, ask, taken.granted, &taken.left);
    }
    give_up(call); /* whatever was not answered */
}

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason)
{
    struct limiter_call *call = H2O_STRUCT_FROM_MEMBER(struct limiter_call, redis, redis_call);
    struct limiter *limiter = call->limiter;

    (void)reason;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        on_error_reply(call, reply->str);
        return;
    }
    histogram_observe(&limiter->counters->durations, clock_monotonic_us() - call->started_us);
    if (reply != NULL) {
        on_answer(call, reply);
    } else {
        counter_add(&limiter->counters->backend_errors, 1);
        give_up(call);
    }
}

/* Redis lost and back: one log line for the whole process */

static const char *policy(const struct limiter *limiter)
{
    return limiter->on_error == LIMITER_ON_ERROR_LOCAL ? "each process holds clients to the limits"
           : limiter->on_error == LIMITER_ON_ERROR_ALLOW ? "clients are not held to their limits"
                                                         : "clients of limited tiers get no tokens";
}

static void on_change(void *owner, bool ready, const char *reason)
{
    struct limiter *limiter = owner;
    struct limiter_shared *shared = limiter->shared;

    if (!limiter->settled)
        atomic_fetch_add(&shared->settled, 1);
    limiter->settled = true;
    limiter->keys_per_call = LIMITER_SCRIPT_MAX; /* may be another Redis */
    if (limiter->fallen_back == !ready)
        return;
    limiter->fallen_back = !ready;
    if (!ready && atomic_fetch_add(&shared->fallen_back, 1) == 0)
        log_warn("limiter.fallback_begun", log_str("reason", reason),
                 log_str("meanwhile", policy(limiter)));
    else if (ready && atomic_fetch_sub(&shared->fallen_back, 1) == 1)
        log_info("limiter.fallback_ended", log_str("reason", "Redis answers again"));
}

void limiter_open(struct limiter *limiter, const struct limiter_config *config,
                  struct limiter_shared *shared, h2o_loop_t *loop, struct timers *timers,
                  struct limiter_counters *counters)
{
    *limiter = (struct limiter){
        .mode = config->mode,
        .on_error = config->on_error,
        .shared = shared,
        .counters = counters,
        .keys_per_call = LIMITER_SCRIPT_MAX,
        .redis_config = {.setup = limiter->setup,
                         .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                         .call_timeout_ms = config->timeout_ms,
                         .owner = limiter,
                         .on_change = on_change},
    };
    if (limiter->mode != LIMITER_REDIS ||
        !redis_url_parse(config->redis_url, &limiter->redis_config.url)) {
        limiter->settled = true;
        atomic_fetch_add(&shared->settled, 1);
        return;
    }
    /* Probe with the script itself, by EVAL and by EVALSHA. Several keys, because a Cluster node
     * holds only some of them. */
    for (size_t i = 0; i != COUNT_OF(limiter->probes); ++i) {
        struct limiter_script_call *probe = &limiter->probes[i];
        char id[sizeof("{probe-99}")]; /* not a valid client id */

        snprintf(id, sizeof(id), "{probe-%zu}", i);
        limiter_script_begin(probe, i != 0);
        limiter_script_ask(probe, slice_of(id), 1, &(struct quota){{1000000000, 0, 0}});
        limiter->setup[i] = (struct redis_setup){probe->count, probe->arguments, probe->lengths};
    }
    redis_open(&limiter->redis, &limiter->redis_config, loop, timers);
}

void limiter_close(struct limiter *limiter)
{
    redis_close(&limiter->redis);
    OPENSSL_cleanse(&limiter->redis_config.url, sizeof(limiter->redis_config.url));
}
