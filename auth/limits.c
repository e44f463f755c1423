/* Quotas: see limits.h. Functions stand in the order in which a request for a token passes through
 * them: taken, sent at the end of the pass, answered by Redis or without it.
 */
#include "auth/limits.h"

#include <endian.h>
#include <h2o.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "auth/windows.h"
#include "common/clock.h"
#include "common/log.h"

#define CONNECT_TIMEOUT_MS 1000
#define PROBE              "jotd:probe" /* a key that no client has */

/* All that ask for one client in one pass. */
struct limits_call {
    struct redis_call redis;
    struct limits_call *prev, *next; /* until it is sent */
    struct limits *limits;
    struct client *client; /* kept */
    struct limits_waiter *waiters;
    uint64_t started_us;
    bool by_script; /* the whole script was sent, since Redis did not know it */
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
    *shared = (struct limits_shared){.local.capacity = LIMITS_LOCAL_MAX};
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

static void decide_locally(struct limits *limits, const struct client *client,
                           struct limits_waiter *waiter)
{
    struct limits_shared *shared = limits->shared;
    int64_t now_ms = clock_unix_ms();
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
    if (limits->mode == LIMITER_LOCAL || limits->on_error == LIMITER_ON_ERROR_LOCAL)
        decide_locally(limits, client, waiter);
    else
        decide(limits, client, waiter,
               limits->on_error == LIMITER_ON_ERROR_ALLOW ? LIMITS_ALLOWED : LIMITS_DENIED, NULL);
}

/* Taken */

void limits_take(struct limits *limits, struct client *client, struct limits_waiter *waiter)
{
    struct limits_call *call = client->call;

    waiter->call = NULL;
    if (limits->mode == LIMITER_OFF || quota_is_unlimited(&client->quota)) {
        decide(limits, client, waiter, LIMITS_GRANTED, NULL);
        return;
    }
    if (client->refused_until_ms != 0) {
        if (clock_monotonic_ms() < client->refused_until_ms) {
            decide(limits, client, waiter, LIMITS_REFUSED, &client->refused_left);
            return;
        }
        client->refused_until_ms = 0;
    }
    if (limits->mode == LIMITER_LOCAL || !redis_is_ready(&limits->redis)) {
        decide_without_redis(limits, client, waiter);
        return;
    }
    if (call == NULL) {
        client->call = call = h2o_mem_alloc(sizeof(*call));
        *call = (struct limits_call){.limits = limits, .client = client};
        client_keep(client);
        DL_APPEND(limits->calls, call);
    }
    waiter->call = call;
    DL_APPEND(call->waiters, waiter);
}

void limits_stop_waiting(struct limits_waiter *waiter)
{
    if (waiter->call != NULL) {
        DL_DELETE(waiter->call->waiters, waiter);
        waiter->call = NULL;
    }
}

/* Sent */

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason);

static bool send_call(struct limits_call *call)
{
    const struct client *client = call->client;
    char key[CLIENT_ID_MAX + 8], numbers[1 + QUOTA_WINDOWS][INTEGER_LENGTH_MAX + 1];
    const char *arguments[8] = {
        call->by_script ? "EVAL" : "EVALSHA",
        call->by_script ? limits_script : call->limits->script_sha1,
        "1",
        key,
    };
    const struct limits_waiter *waiter;
    int64_t asked = 0;

    DL_FOREACH (call->waiters, waiter)
        asked += waiter->asks;
    snprintf(key, sizeof(key), LIMITS_KEY, (int)client->id.length, client->id.bytes);
    for (size_t i = 0; i != COUNT_OF(numbers); ++i) {
        int64_t number = i == 0 ? asked : client->quota.limits[i - 1];

        numbers[i][integer_write(number, numbers[i])] = '\0';
        arguments[4 + i] = numbers[i];
    }
    call->redis.on_reply = on_reply;
    return redis_send(&call->limits->redis, &call->redis, COUNT_OF(arguments), arguments, NULL);
}

static void end_call(struct limits_call *call)
{
    client_release(call->client);
    free(call);
}

/* All that wait are answered without Redis. */
static void give_up(struct limits_call *call)
{
    while (call->waiters != NULL) {
        struct limits_waiter *waiter = call->waiters;

        limits_stop_waiting(waiter);
        decide_without_redis(call->limits, call->client, waiter);
    }
    end_call(call);
}

void limits_end_pass(struct limits *limits)
{
    while (limits->calls != NULL) {
        struct limits_call *call = limits->calls;

        DL_DELETE(limits->calls, call);
        call->client->call = NULL;
        call->started_us = clock_monotonic_us();
        if (call->waiters == NULL)
            end_call(call);
        else if (!send_call(call))
            give_up(call);
    }
    redis_flush(&limits->redis);
}

/* Answered */

bool limits_read_reply(const redisReply *reply, int64_t *granted, int64_t *now_ms,
                       struct quota_left *left)
{
    uint64_t numbers[2 + 2 * QUOTA_WINDOWS];

    if (reply->type != REDIS_REPLY_STRING || (size_t)reply->len != sizeof(numbers))
        return false;
    memcpy(numbers, reply->str, sizeof(numbers));
    *granted = (int64_t)le64toh(numbers[0]);
    *now_ms = (int64_t)le64toh(numbers[1]);
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        left->remaining[w] = (int64_t)le64toh(numbers[2 + 2 * w]);
        left->reset_ms[w] = (int64_t)le64toh(numbers[3 + 2 * w]);
    }
    return true;
}

/* No more until one more would be granted. */
static void remember_refusal(struct client *client, const struct quota_left *left)
{
    client->refused_left = *left;
    client->refused_until_ms = (uint64_t)left->reset_ms[quota_binding(&client->quota, left)];
}

/* In order of arrival; each is told what is left after it. */
static void answer(struct limits_call *call, int64_t granted, struct quota_left *left)
{
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        left->remaining[w] += granted;
    while (call->waiters != NULL) {
        struct limits_waiter *waiter = call->waiters;
        bool refused = waiter->asks && granted == 0;

        if (waiter->asks && !refused) {
            --granted;
            for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
                --left->remaining[w];
        }
        if (refused && call->client->refused_until_ms == 0)
            remember_refusal(call->client, left);
        limits_stop_waiting(waiter);
        decide(call->limits, call->client, waiter, refused ? LIMITS_REFUSED : LIMITS_GRANTED, left);
    }
}

/* Errors of the server's state, not of this one call: it is of no use until that has changed. */
static bool is_of_no_use(const char *error)
{
    static const char *const codes[] = {"READONLY ",   "LOADING ",  "OOM ",        "MISCONF ",
                                        "MASTERDOWN ", "NOAUTH ",   "NOPERM ",     "BUSY ",
                                        "NOREPLICAS ", "TRYAGAIN ", "CLUSTERDOWN "};

    for (size_t i = 0; i != COUNT_OF(codes); ++i) {
        if (strncmp(error, codes[i], strlen(codes[i])) == 0)
            return true;
    }
    return false;
}

/* One line a second at most: an error of one client's key, or one that all calls have. */
static void note_error(struct limits_call *call, const char *error)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms - call->limits->error_logged_ms < 1000)
        return;
    call->limits->error_logged_ms = now_ms;
    log_warn("limiter.error", log_slice("client", call->client->id), log_str("reason", error));
}

static void on_error_reply(struct limits_call *call, const char *error)
{
    if (strncmp(error, "NOSCRIPT", 8) == 0 && !call->by_script) {
        call->by_script = true;
        if (send_call(call))
            return;
    }
    counter_add(&call->limits->counters->limiter_backend_errors, 1);
    note_error(call, error);
    if (is_of_no_use(error))
        redis_give_up(&call->limits->redis, "Redis refuses writes: it is read-only, full or "
                                            "loading, or lacks a permission");
    give_up(call);
}

static void on_reply(struct redis_call *redis_call, const redisReply *reply, const char *reason)
{
    struct limits_call *call = H2O_STRUCT_FROM_MEMBER(struct limits_call, redis, redis_call);
    struct limits *limits = call->limits;
    struct quota_left left;
    int64_t granted, now_ms;

    (void)reason;
    if (reply != NULL && reply->type == REDIS_REPLY_ERROR) {
        on_error_reply(call, reply->str);
        return;
    }
    histogram_observe(&limits->counters->limiter_durations,
                      clock_monotonic_us() - call->started_us);
    if (reply != NULL && limits_read_reply(reply, &granted, &now_ms, &left)) {
        make_monotonic(&left, now_ms);
        answer(call, granted, &left);
        end_call(call);
        return;
    }
    counter_add(&limits->counters->limiter_backend_errors, 1);
    give_up(call);
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
    if (limits->fallen_back == !ready)
        return;
    limits->fallen_back = !ready;
    if (!ready && atomic_fetch_add(&shared->fallen_back, 1) == 0)
        log_warn("limiter.fallback_begun", log_str("reason", reason),
                 log_str("meanwhile", policy(limits)));
    else if (ready && atomic_fetch_sub(&shared->fallen_back, 1) == 1)
        log_info("limiter.fallback_ended", log_str("reason", "Redis answers again"));
}

static void make_sha1(char text[41])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t length = 0;

    /* Not for security: it is how Redis names a script. */
    if (EVP_Q_digest(NULL, "SHA1", NULL, limits_script, strlen(limits_script), digest, &length) !=
        1)
        length = 0; /* Redis will not know it, and take the script instead */
    text[0] = '\0';
    for (size_t i = 0; i != length && i != 20; ++i)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
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
    make_sha1(limits->script_sha1);
    /* The script itself shows whether Redis takes it, by both its names. */
    limits->setup[0] =
        (struct redis_setup){8, {"EVAL", limits_script, "1", PROBE, "1", "1000000000", "0", "0"}};
    limits->setup[1] = (struct redis_setup){
        8, {"EVALSHA", limits->script_sha1, "1", PROBE, "1", "1000000000", "0", "0"}};
    redis_open(&limits->redis, &limits->config, loop, timers);
}

void limits_close(struct limits *limits)
{
    redis_close(&limits->redis);
    OPENSSL_cleanse(&limits->config.url, sizeof(limits->config.url));
}
