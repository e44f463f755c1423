/* A Redis connection on the loop: see redis.h for the states. Functions stand in the order in which
 * a connection passes through them. set_state is the one place where the state changes, and lose()
 * the one way down.
 *
 * hiredis may free its context in any of its handlers, after which `context` is NULL: callbacks
 * only note why (`broken`), and lose() follows when hiredis has returned. It closes its own
 * descriptor; the loop watches a duplicate.
 */
#include "common/redis.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/log.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 500

static void tell(struct redis *redis, bool ready)
{
    if (redis->told && redis->told_ready == ready)
        return;
    redis->told = true;
    redis->told_ready = ready;
    redis->config->on_change(redis->config->owner, ready, redis->reason.reason);
}

static void set_state(struct redis *redis, enum redis_state state)
{
    redis->state = state;
    if (state == REDIS_READY || state == REDIS_DOWN)
        tell(redis, state == REDIS_READY);
}

static void fail_calls(struct redis *redis)
{
    while (redis->calls != NULL) {
        struct redis_call *call = redis->calls;

        DL_DELETE(redis->calls, call);
        call->on_reply(call, NULL, redis->reason.reason);
    }
}

static void disconnect(struct redis *redis)
{
    redisAsyncContext *context = redis->context;

    timer_stop(redis->timers, &redis->timer);
    resolve_cancel(&redis->resolve);
    redis->context = NULL; /* its callbacks see that nobody asks any more */
    if (context != NULL)
        redisAsyncFree(context);
    watch_close(&redis->watch);
    redis->wants_write = false;
    redis->broken = NULL;
}

/* The connection is given up, for a reason, and tried again after a pause. */
static void lose(struct redis *redis, const char *reason)
{
    char copy[sizeof(redis->reason.reason)]; /* it may live in the context */

    snprintf(copy, sizeof(copy), "%s", reason);
    disconnect(redis);
    failure_set(&redis->reason, "%s", copy);
    failure_one_line(&redis->reason);
    set_state(redis, REDIS_DOWN);
    fail_calls(redis);
    /* Half of the pause is random, so that many do not come back at once. */
    timer_start(redis->timers, &redis->timer,
                redis->backoff_ms / 2 + arc4random_uniform((uint32_t)redis->backoff_ms / 2 + 1));
    redis->backoff_ms =
        redis->backoff_ms * 2 < BACKOFF_MAX_MS ? redis->backoff_ms * 2 : BACKOFF_MAX_MS;
}

void redis_give_up(struct redis *redis, const char *reason)
{
    if (redis->state == REDIS_DOWN || redis->broken != NULL)
        return;
    redis->broken = reason;
    timer_start(redis->timers, &redis->timer, 1);
}

/* hiredis's hooks */

static void on_want_read(void *data)
{
    (void)data; /* the loop always does */
}

static void on_want_write(void *data)
{
    struct redis *redis = data;

    redis->wants_write = true;
    if (redis->state != REDIS_READY) /* else redis_flush writes, once a pass */
        watch_for_write(&redis->watch);
}

static void on_want_no_write(void *data)
{
    ((struct redis *)data)->wants_write = false;
}

static void on_disconnected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;

    (void)status;
    if (redis->context == NULL)
        return; /* it was us */
    redis->context = NULL;
    redis->broken = "Redis has closed the connection";
}

/* The set-up */

static void on_setup_reply(redisAsyncContext *context, void *reply_, void *data)
{
    struct redis *redis = context->data;
    const redisReply *reply = reply_;

    ++redis->replies;
    if (redis->context == NULL || redis->broken != NULL)
        return;
    if (reply == NULL) {
        redis->broken = "Redis has closed the connection";
    } else if (reply->type == REDIS_REPLY_ERROR) {
        /* Of an answer to AUTH the first word: what follows may repeat the password. */
        bool sign_on = strcmp(data, "AUTH") == 0;

        failure_set(&redis->reason, "Redis refused %s: %.*s", (const char *)data,
                    (int)(sign_on ? strcspn(reply->str, " ") : reply->len), reply->str);
        redis->broken = redis->reason.reason;
    } else if (--redis->setup_left == 0) {
        timer_stop(redis->timers, &redis->timer);
        redis->backoff_ms = BACKOFF_MIN_MS;
        redis->reason.reason[0] = '\0';
        set_state(redis, REDIS_READY);
    }
}

static void setup_command(struct redis *redis, int count, const char *const *arguments,
                          const size_t *lengths)
{
    if (redisAsyncCommandArgv(redis->context, on_setup_reply, (void *)arguments[0], count,
                              (const char **)arguments, lengths) == REDIS_OK)
        ++redis->setup_left;
}

/* All at once: hiredis keeps the order. A server that refuses any of it (a replica, a full one, one
 * where a permission is missing) is of no use, nor is one that does not answer in the time of a
 * call. */
static void set_up(struct redis *redis)
{
    const struct redis_url *url = &redis->config->url;
    const char *sign_on[] = {"AUTH", url->user[0] != '\0' ? url->user : "default", url->password};
    const char *select[] = {"SELECT", url->database};

    redis->setup_left = 0;
    set_state(redis, REDIS_SETTING_UP);
    timer_start(redis->timers, &redis->timer, redis->config->call_timeout_ms);
    if (url->password[0] != '\0')
        setup_command(redis, COUNT_OF(sign_on), sign_on, NULL);
    if (strcmp(url->database, "0") != 0)
        setup_command(redis, COUNT_OF(select), select, NULL);
    for (const struct redis_setup *step = redis->config->setup; step->count != 0; ++step)
        setup_command(redis, step->count, step->arguments, step->lengths);
}

static void on_connected(const redisAsyncContext *context, int status)
{
    struct redis *redis = context->data;

    if (redis->context == NULL)
        return;
    if (status == REDIS_OK) {
        set_up(redis);
        return;
    }
    failure_set(&redis->reason, "cannot connect to Redis: %s", context->errstr);
    redis->broken = redis->reason.reason;
    redis->context = NULL; /* hiredis frees it */
}

/* Connecting */

static void on_ready(struct watch *watch)
{
    struct redis *redis = H2O_STRUCT_FROM_MEMBER(struct redis, watch, watch);

    if (redis->context != NULL && redis->wants_write)
        redisAsyncHandleWrite(redis->context);
    if (redis->context != NULL)
        redisAsyncHandleRead(redis->context);
    if (redis->broken != NULL)
        lose(redis, redis->broken);
    else if (redis->wants_write)
        watch_for_write(&redis->watch);
}

static void connect_with(struct redis *redis, redisAsyncContext *context)
{
    if (context == NULL || context->err != 0) {
        lose(redis, context != NULL ? context->errstr : "out of memory");
        if (context != NULL)
            redisAsyncFree(context);
        return;
    }
    redis->watch.on_ready = on_ready;
    if (!watch_open(&redis->watch, redis->loop, context->c.fd)) {
        redisAsyncFree(context);
        lose(redis, "no file descriptor left");
        return;
    }
    redis->context = context;
    timer_start(redis->timers, &redis->timer, redis->config->connect_timeout_ms);
    context->data = redis;
    context->ev.data = redis;
    context->ev.addRead = on_want_read;
    context->ev.delRead = on_want_read;
    context->ev.addWrite = on_want_write;
    context->ev.delWrite = on_want_no_write;
    set_state(redis, REDIS_CONNECTING);
    redisAsyncSetDisconnectCallback(context, on_disconnected);
    redisAsyncSetConnectCallback(context, on_connected);
    watch_for_write(&redis->watch);
}

/* One address an attempt, in turn. */
static void on_resolved(struct resolve *resolve, const struct addrinfo *addresses,
                        const char *reason)
{
    struct redis *redis = H2O_STRUCT_FROM_MEMBER(struct redis, resolve, resolve);
    char host[INET6_ADDRSTRLEN];
    size_t count = 0, turn;
    const struct addrinfo *address;

    for (address = addresses; address != NULL; address = address->ai_next)
        ++count;
    if (count == 0) {
        failure_set(&redis->reason, "the host of Redis has no address: %s", reason);
        lose(redis, redis->reason.reason);
        return;
    }
    turn = redis->turn++ % count;
    for (address = addresses; turn != 0; --turn)
        address = address->ai_next;
    if (getnameinfo(address->ai_addr, address->ai_addrlen, host, sizeof(host), NULL, 0,
                    NI_NUMERICHOST) != 0)
        lose(redis, "the host of Redis has an address that cannot be read");
    else
        connect_with(redis, redisAsyncConnect(host, atoi(redis->config->url.port)));
}

static void connect_start(struct redis *redis)
{
    const struct redis_url *url = &redis->config->url;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST}, *numeric;

    timer_start(redis->timers, &redis->timer, redis->config->connect_timeout_ms);
    if (url->host[0] == '\0') {
        connect_with(redis, redisAsyncConnectUnix(url->path));
    } else if (getaddrinfo(url->host, NULL, &hints, &numeric) == 0) {
        freeaddrinfo(numeric);
        connect_with(redis, redisAsyncConnect(url->host, atoi(url->port)));
    } else {
        set_state(redis, REDIS_RESOLVING);
        redis->resolve.on_done = on_resolved;
        resolve_start(&redis->resolve, redis->timers, url->host, url->port);
    }
}

/* What Redis should have answered by now may have arrived: a loop that is busy comes late to read
 * it, and hiredis reads a part at a time. Only when nothing is there, it is Redis that is late. */
static void on_overdue(struct redis *redis)
{
    uint64_t replies = redis->replies;

    redisAsyncHandleRead(redis->context);
    if (redis->broken != NULL)
        lose(redis, redis->broken);
    else if (redis->replies == replies)
        lose(redis, "Redis did not answer in time");
    else if (redis->calls != NULL || redis->state == REDIS_SETTING_UP)
        timer_start(redis->timers, &redis->timer, 1);
}

/* While calls are in flight it runs, but is not set anew for each: it looks when the oldest is
 * due. */
static void check_deadline(struct redis *redis)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (redis->calls == NULL)
        return;
    if (redis->calls->deadline_ms <= now_ms)
        on_overdue(redis);
    else
        timer_start(redis->timers, &redis->timer, redis->calls->deadline_ms - now_ms);
}

/* A name server that is silent may take glibc longer than this before it asks the next one: to
 * begin anew would never come to an end. It goes on, and nobody waits for it. */
static void on_slow_name(struct redis *redis)
{
    failure_set(&redis->reason, "looking up the address of Redis takes long");
    tell(redis, false);
}

static void on_timer(struct timer *timer)
{
    struct redis *redis = H2O_STRUCT_FROM_MEMBER(struct redis, timer, timer);

    if (redis->broken != NULL)
        lose(redis, redis->broken);
    else if (redis->state == REDIS_DOWN)
        connect_start(redis);
    else if (redis->state == REDIS_READY)
        check_deadline(redis);
    else if (redis->state == REDIS_SETTING_UP)
        on_overdue(redis);
    else if (redis->state == REDIS_RESOLVING)
        on_slow_name(redis);
    else
        lose(redis, "connecting to Redis took too long");
}

/* Calls */

static void on_raw_reply(redisAsyncContext *context, void *reply, void *data)
{
    struct redis_call *call = data;
    struct redis *redis = context->data;

    if (redis->context == NULL || reply == NULL)
        return; /* lose() tells */
    ++redis->replies;
    DL_DELETE(redis->calls, call);
    call->on_reply(call, reply, NULL);
}

bool redis_send(struct redis *redis, struct redis_call *call, int count,
                const char *const *arguments, const size_t *lengths)
{
    if (!redis_is_ready(redis) ||
        redisAsyncCommandArgv(redis->context, on_raw_reply, call, count, (const char **)arguments,
                              lengths) != REDIS_OK)
        return false;
    call->redis = redis;
    call->deadline_ms = clock_monotonic_ms() + redis->config->call_timeout_ms;
    DL_APPEND(redis->calls, call);
    if (!timer_is_running(&redis->timer))
        timer_start(redis->timers, &redis->timer, redis->config->call_timeout_ms);
    return true;
}

void redis_flush(struct redis *redis)
{
    if (redis->context == NULL || redis->state != REDIS_READY || !redis->wants_write)
        return;
    redisAsyncHandleWrite(redis->context);
    if (redis->broken != NULL)
        timer_start(redis->timers, &redis->timer, 1); /* where lose() is called */
    else if (redis->wants_write)
        watch_for_write(&redis->watch);
}

void redis_open(struct redis *redis, const struct redis_config *config, h2o_loop_t *loop,
                struct timers *timers)
{
    *redis = (struct redis){
        .config = config, .loop = loop, .timers = timers, .backoff_ms = BACKOFF_MIN_MS};
    redis->timer.on_time = on_timer;
    connect_start(redis);
}

void redis_close(struct redis *redis)
{
    if (redis->config == NULL)
        return;
    disconnect(redis);
    failure_set(&redis->reason, "closing");
    redis->state = REDIS_DOWN;
    fail_calls(redis);
}
