/* Quotas: see limits.h. Functions stand in the order in which a request for a token passes through
 * them: taken, sent at the end of the pass, answered by Redis or without it.
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

/* All that ask for one client in one pass. */
struct limits_ask {
    struct limits_ask *prev, *next;
    struct client *client; /* kept */
    struct limits_waiter *waiters;
    int64_t asked; /* tokens, when it was sent; some who waited may have gone since */
};

/* The script at work, for the clients of a pass. */
struct limits_call {
    struct redis_call redis;
    struct limits *limits;
    struct limits_ask *asks; /* in the order of the keys */
    size_t keys;
    uint64_t started_us;
    bool by_name; /* else the whole script was sent, since Redis did not know it */
};

/* What one client has used, in the table of the process. */
struct local_windows {
    struct lru_entry entry;
    struct windows windows;
    char id[CLIENT_ID_MAX];
};

/* Without Redis */

void limits_shared_open(struct limits_shared *shared)
{
    *shared = (struct limits_shared){.boot_unix_ms = clock_unix_ms() - clock_boot_ms(),
                                     .local.capacity = LIMITS_LOCAL_MAX};
    pthread_mutex_init(&shared->mutex, NULL);
}

static void free_local(struct lru_entry *entry)
{
    if (entry != NULL)
        free(H2O_STRUCT_FROM_MEMBER(struct local_windows, entry, entry));
}

void limits_shared_close(struct limits_shared *shared)
{
    struct lru_entry *entry;

    while ((entry = lru_oldest(&shared->local)) != NULL) {
        lru_remove(&shared->local, entry);
        free_local(entry);
    }
    pthread_mutex_destroy(&shared->mutex);
}

static struct local_windows *find_local(struct limits_shared *shared, struct slice id)
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

/* Unix or Redis's milliseconds to monotonic ones. */
static void make_monotonic(struct quota_left *left, int64_t now_ms)
{
    int64_t difference_ms = (int64_t)clock_monotonic_ms() - now_ms;

    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        left->reset_ms[w] += difference_ms;
}

static void decide(struct limits *limits, const struct client *client, struct limits_waiter *waiter,
                   enum limits_decision decision, const struct quota_left *left)
{
    if (waiter->asks)
        counter_add(&limits->counters->limiter_decisions[client->tier][decision], 1);
    for (size_t w = 0; left != NULL && decision == LIMITS_GRANTED && w != QUOTA_WINDOWS; ++w) {
        if (waiter->asks && client->quota.limits[w] != 0 &&
            quota_is_near_limit(client->quota.limits[w], left->remaining[w])) {
            counter_add(&limits->counters->limiter_near_limit[client->tier], 1);
            break;
        }
    }
    waiter->on_decision(waiter, decision, left);
}

/* By the wall clock as it was at the start and has gone on since: were it set, everybody would have
 * a fresh quota. */
static int64_t local_now_ms(const struct limits_shared *shared)
{
    return shared->boot_unix_ms + clock_boot_ms();
}

static void decide_locally(struct limits *limits, const struct client *client,
                           struct limits_waiter *waiter)
{
    struct limits_shared *shared = limits->shared;
    int64_t now_ms = local_now_ms(shared);
    struct quota_left left;
    int64_t granted;

    pthread_mutex_lock(&shared->mutex);
    granted = windows_take(&find_local(shared, client->id)->windows, &client->quota, waiter->asks,
                           now_ms, &left);
    pthread_mutex_unlock(&shared->mutex);
    make_monotonic(&left, now_ms);
    decide(limits, client, waiter, granted == waiter->asks ? LIMITS_GRANTED : LIMITS_REFUSED,
           &left);
}

static void decide_without_redis(struct limits *limits, const struct client *client,
                                 struct limits_waiter *waiter)
{
    if (limits->mode == LIMITER_REDIS)
        counter_add(&limits->counters->limiter_without_redis, 1);
    if (limits->mode == LIMITER_LOCAL || limits->on_error == LIMITER_ON_ERROR_LOCAL)
        decide_locally(limits, client, waiter);
    else
        decide(limits, client, waiter,
               limits->on_error == LIMITER_ON_ERROR_ALLOW ? LIMITS_ALLOWED : LIMITS_DENIED, NULL);
}

/* Taken */

bool limits_refuse_again(struct limits *limits, struct client *client, struct limits_waiter *waiter)
{
    if (client->refused_until_ms == 0)
        return false;
    if (clock_monotonic_ms() >= client->refused_until_ms) {
        client->refused_until_ms = 0;
        return false;
    }
    waiter->ask = NULL;
    decide(limits, client, waiter, LIMITS_REFUSED, &client->refused_left);
    return true;
}

void limits_take(struct limits *limits, struct client *client, struct limits_waiter *waiter)
{
    struct limits_ask *ask = client->ask;

    waiter->ask = NULL;
    if (limits->mode == LIMITER_OFF || quota_is_unlimited(&client->quota)) {
        decide(limits, client, waiter, LIMITS_GRANTED, NULL);
        return;
    }
    if (limits->mode == LIMITER_LOCAL || !redis_is_ready(&limits->redis)) {
        decide_without_redis(limits, client, waiter);
        return;
    }
    if (ask == NULL) {
        client->ask = ask = h2o_mem_alloc(sizeof(*ask));
        *ask = (struct limits_ask){.client = client};
        client_keep(client);
        DL_APPEND(limits->asks, ask);
    }
    waiter->ask = ask;
    DL_APPEND(ask->waiters, waiter);
}

void limits_stop_waiting(struct limits_waiter *waiter)
{
    if (waiter->ask != NULL) {
        DL_DELETE(waiter->ask->waiters, waiter);
        waiter->ask = NULL;
    }
}

/* Sent */

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason);

static bool send_call(struct limits_call *call)
{
    struct limits_ask *ask;
    const struct limits_waiter *waiter;
    struct limits_script_call script;

    limits_script_begin(&script, call->by_name);
    DL_FOREACH (call->asks, ask) {
        ask->asked = 0;
        DL_FOREACH (ask->waiters, waiter)
            ask->asked += waiter->asks;
        limits_script_ask(&script, ask->client->id, ask->asked, &ask->client->quota);
    }
    call->redis.on_reply = on_reply;
    call->keys = script.keys;
    return redis_send(&call->limits->redis, &call->redis, script.count, script.arguments,
                      script.lengths);
}

static void end_ask(struct limits_ask *ask)
{
    client_release(ask->client);
    free(ask);
}

/* All that wait are answered without Redis. */
static void give_up_ask(struct limits *limits, struct limits_ask *ask)
{
    while (ask->waiters != NULL) {
        struct limits_waiter *waiter = ask->waiters;

        limits_stop_waiting(waiter);
        decide_without_redis(limits, ask->client, waiter);
    }
    end_ask(ask);
}

static void give_up(struct limits_call *call)
{
    while (call->asks != NULL) {
        struct limits_ask *ask = call->asks;

        DL_DELETE(call->asks, ask);
        give_up_ask(call->limits, ask);
    }
    free(call);
}

/* Of what is asked for in this pass, as much as one call may hold. */
static struct limits_call *make_call(struct limits *limits)
{
    struct limits_call *call = h2o_mem_alloc(sizeof(*call));
    size_t keys = 0;

    *call =
        (struct limits_call){.limits = limits, .started_us = clock_monotonic_us(), .by_name = true};
    while (limits->asks != NULL && keys != limits->keys_per_call) {
        struct limits_ask *ask = limits->asks;

        DL_DELETE(limits->asks, ask);
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

void limits_end_pass(struct limits *limits)
{
    while (limits->asks != NULL) {
        struct limits_call *call = make_call(limits);

        if (call->asks == NULL || !send_call(call))
            give_up(call);
    }
    redis_flush(&limits->redis);
}

/* Answered */

/* No more until one more would be granted. */
static void remember_refusal(struct client *client, const struct quota_left *left)
{
    client->refused_left = *left;
    client->refused_until_ms = (uint64_t)left->reset_ms[quota_binding(&client->quota, left)];
}

/* In order of arrival; each is told what is left after it. */
static void answer(struct limits *limits, struct limits_ask *ask, int64_t granted,
                   struct quota_left *left)
{
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        left->remaining[w] += granted;
    while (ask->waiters != NULL) {
        struct limits_waiter *waiter = ask->waiters;
        bool refused = waiter->asks && granted == 0;

        if (waiter->asks && !refused) {
            --granted;
            for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
                --left->remaining[w];
        }
        if (refused && ask->client->refused_until_ms == 0)
            remember_refusal(ask->client, left);
        limits_stop_waiting(waiter);
        decide(limits, ask->client, waiter, refused ? LIMITS_REFUSED : LIMITS_GRANTED, left);
    }
    end_ask(ask);
}

/* Errors of the server's state, not of this one call: it is of no use until that has changed. Up to
 * Redis 6 what a command in a script says stands behind the place in the script: "ERR Error running
 * script (call to f_…): @user_script:1: @user_script: 1: -READONLY …". */
static bool is_of_no_use(const char *error)
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

/* One line a second at most: it may be one client's key, or what all calls have. */
static void note_error(struct limits *limits, struct slice client_id, const char *error)
{
    uint64_t now_ms = clock_monotonic_ms();

    counter_add(&limits->counters->limiter_backend_errors, 1);
    if (now_ms - limits->error_logged_ms < 1000)
        return;
    limits->error_logged_ms = now_ms;
    log_warn("limiter.error", log_slice("client", client_id), log_str("reason", error));
}

/* A Redis that spreads its keys (a Cluster, behind one address) takes no call for keys of several
 * places: from now on, a call for each client. */
static void send_one_by_one(struct limits_call *call)
{
    if (call->limits->keys_per_call != 1)
        log_info("limiter.one_by_one",
                 log_str("reason", "Redis takes no call for the keys of several clients"));
    call->limits->keys_per_call = 1;
    DL_CONCAT(call->limits->asks, call->asks); /* sent at the end of this pass */
    free(call);
}

static void on_error_reply(struct limits_call *call, const char *error)
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
    note_error(call->limits, call->asks->client->id, error);
    if (is_of_no_use(error))
        redis_give_up(&call->limits->redis,
                      "Redis refuses writes: it is read-only, full or "
                      "loading, lacks a permission, or is a part of a Cluster");
    give_up(call);
}

static void on_answer(struct limits_call *call, const redisReply *reply)
{
    struct limits *limits = call->limits;
    struct limits_script_taken taken;

    for (size_t i = 0; i != call->keys; ++i) {
        struct limits_ask *ask = call->asks;

        if (!limits_script_read(reply, call->keys, i, ask->asked, &ask->client->quota, &taken)) {
            note_error(limits, ask->client->id, "this is not the script's answer");
            break;
        }
        DL_DELETE(call->asks, ask);
        if (taken.granted < 0) {
            note_error(limits, ask->client->id, "its key holds something else than a quota");
            give_up_ask(limits, ask);
            continue;
        }
        make_monotonic(&taken.left, taken.now_ms);
        answer(limits, ask, taken.granted, &taken.left);
    }
    give_up(call); /* what is left */
}

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason)
{
    struct limits_call *call = H2O_STRUCT_FROM_MEMBER(struct limits_call, redis, redis_call);
    struct limits *limits = call->limits;

    (void)reason;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        on_error_reply(call, reply->str);
        return;
    }
    histogram_observe(&limits->counters->limiter_durations,
                      clock_monotonic_us() - call->started_us);
    if (reply != NULL) {
        on_answer(call, reply);
    } else {
        counter_add(&limits->counters->limiter_backend_errors, 1);
        give_up(call);
    }
}

/* Redis comes and goes. One line for the whole process. */

static const char *policy(const struct limits *limits)
{
    return limits->on_error == LIMITER_ON_ERROR_LOCAL   ? "each process holds clients to the limits"
           : limits->on_error == LIMITER_ON_ERROR_ALLOW ? "clients are not held to their limits"
                                                        : "clients of limited tiers get no tokens";
}

static void on_change(void *owner, bool ready, const char *reason)
{
    struct limits *limits = owner;
    struct limits_shared *shared = limits->shared;

    if (!limits->settled)
        atomic_fetch_add(&shared->settled, 1);
    limits->settled = true;
    limits->keys_per_call = LIMITS_SCRIPT_MAX; /* it may be another Redis */
    if (limits->fallen_back == !ready)
        return;
    limits->fallen_back = !ready;
    if (!ready && atomic_fetch_add(&shared->fallen_back, 1) == 0)
        log_warn("limiter.fallback_begun", log_str("reason", reason),
                 log_str("meanwhile", policy(limits)));
    else if (ready && atomic_fetch_sub(&shared->fallen_back, 1) == 1)
        log_info("limiter.fallback_ended", log_str("reason", "Redis answers again"));
}

void limits_open(struct limits *limits, const struct settings *settings,
                 struct limits_shared *shared, h2o_loop_t *loop, struct timers *timers,
                 struct counters *counters)
{
    *limits = (struct limits){
        .mode = (enum limiter)settings->limiter,
        .on_error = (enum limiter_on_error)settings->limiter_on_error,
        .shared = shared,
        .counters = counters,
        .keys_per_call = LIMITS_SCRIPT_MAX,
        .config = {.setup = limits->setup,
                   .connect_timeout_ms = CONNECT_TIMEOUT_MS,
                   .call_timeout_ms = (uint64_t)settings->limiter_timeout_ms,
                   .owner = limits,
                   .on_change = on_change},
    };
    if (limits->mode != LIMITER_REDIS ||
        !redis_url_parse(settings->redis_url, &limits->config.url)) {
        limits->settled = true;
        atomic_fetch_add(&shared->settled, 1);
        return;
    }
    /* The script itself shows whether Redis takes it, by both its names; several keys, whether it
     * has all of them: a node of a Cluster has a part. */
    for (size_t i = 0; i != COUNT_OF(limits->probes); ++i) {
        struct limits_script_call *probe = &limits->probes[i];
        char id[sizeof("{probe-99}")]; /* no client's */

        snprintf(id, sizeof(id), "{probe-%zu}", i);
        limits_script_begin(probe, i != 0);
        limits_script_ask(probe, slice_of(id), 1, &(struct quota){{1000000000, 0, 0}});
        limits->setup[i] = (struct redis_setup){probe->count, probe->arguments, probe->lengths};
    }
    redis_open(&limits->redis, &limits->config, loop, timers);
}

void limits_close(struct limits *limits)
{
    redis_close(&limits->redis);
    OPENSSL_cleanse(&limits->config.url, sizeof(limits->config.url));
}
