/* A Redis connection on the loop. Functions are in the order in which a connection passes through
 * them: names, connection, set-up, calls, replies, late calls, the way down.
 *
 * hiredis formats commands and parses replies; its asynchronous layer, which aborts on an
 * unsolicited reply and accepts arrays of any size, is not used.
 */
#include "common/redis/redis.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/lag.h"

#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 500
#define LASTING_MS     1000
#define LOOKS_MAX      100 /* 1 ms apart, for input that has arrived but is not read yet */

static void on_resolved(struct resolve *resolve, const struct addrinfo *addresses,
                        const char *reason);
static void on_connected(h2o_socket_t *socket, const char *error);
static void on_written(h2o_socket_t *socket, const char *error);
static void on_read(h2o_socket_t *socket, const char *error);
static void stop(struct reconnect *link);
static void on_state(struct reconnect *link, enum reconnect_state before);
static bool on_lost(struct reconnect *link, enum reconnect_state before, bool is_news);
static void on_slow_name(struct reconnect *link);
static void on_overdue(struct reconnect *link);

static struct redis *redis_of(struct reconnect *link)
{
    return H2O_STRUCT_FROM_MEMBER(struct redis, link, link);
}

static void lose(struct redis *redis, const char *reason)
{
    reconnect_lose(&redis->link, reason);
}

static void lose_by_error(struct redis *redis, int error)
{
    struct failure failure;

    failure_set(&failure, "cannot connect to Redis: %s", strerror(error));
    lose(redis, failure.reason);
}

/* Connecting */

static void connect_to(struct redis *redis, const struct sockaddr *address, socklen_t length)
{
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1 || (connect(fd, address, length) == -1 && errno != EINPROGRESS)) {
        int error = errno;

        if (fd != -1)
            close(fd);
        lose_by_error(redis, error);
        return;
    }
    redis->socket = h2o_evloop_socket_create(redis->loop, fd, 0);
    redis->socket->data = redis;
    reconnect_begin_connecting(&redis->link);
    reconnect_move(&redis->link, RECONNECT_CONNECTING);
    h2o_socket_notify_write(redis->socket, on_connected);
}

static void connect_locally(struct redis *redis)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    _Static_assert(sizeof(redis->config->url.path) <= sizeof(address.sun_path), "it has its place");
    memcpy(address.sun_path, redis->config->url.path, sizeof(redis->config->url.path));
    connect_to(redis, (const struct sockaddr *)&address, sizeof(address));
}

static void start(struct reconnect *link)
{
    struct redis *redis = redis_of(link);
    const struct redis_url *url = &redis->config->url;
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *numeric;

    if (url->host[0] == '\0') {
        connect_locally(redis);
    } else if (getaddrinfo(url->host, url->port, &hints, &numeric) == 0) {
        connect_to(redis, numeric->ai_addr, numeric->ai_addrlen);
        freeaddrinfo(numeric);
    } else {
        reconnect_move(link, RECONNECT_RESOLVING);
        redis->resolve.on_done = on_resolved;
        resolve_start(&redis->resolve, redis->timers, url->host, url->port);
    }
}

void redis_open(struct redis *redis, const struct redis_config *config, h2o_loop_t *loop,
                struct timers *timers)
{
    const struct redis_url *url = &config->url;

    *redis = (struct redis){
        .config = config,
        .loop = loop,
        .timers = timers,
        .sign_on = {"AUTH", url->user[0] != '\0' ? url->user : "default", url->password},
        .select = {"SELECT", url->database},
        .link = {.connect_timeout_ms = config->connect_timeout_ms,
                 .backoff = {.min_ms = BACKOFF_MIN_MS, .max_ms = BACKOFF_MAX_MS},
                 .start = start,
                 .stop = stop,
                 .on_state = on_state,
                 .on_lost = on_lost,
                 .on_slow_name = on_slow_name,
                 .on_overdue = on_overdue,
                 .too_slow = "connecting to Redis took too long"},
    };
    reconnect_open(&redis->link, timers);
    /* Connects on the loop's own thread: libh2o takes a socket's buffers from the cache of the
     * thread that creates it. */
    timer_start(timers, &redis->link.timer, 1);
}

/* One address per attempt, in turn. */
static void on_resolved(struct resolve *resolve, const struct addrinfo *addresses,
                        const char *reason)
{
    struct redis *redis = H2O_STRUCT_FROM_MEMBER(struct redis, resolve, resolve);
    size_t count = 0, turn;
    const struct addrinfo *address;
    struct failure failure;

    for (address = addresses; address != NULL; address = address->ai_next)
        ++count;
    if (count == 0) {
        failure_set(&failure, "the host of Redis has no address: %s", reason);
        lose(redis, failure.reason);
        return;
    }
    turn = redis->turn++ % count;
    for (address = addresses; turn != 0; --turn)
        address = address->ai_next;
    connect_to(redis, address->ai_addr, address->ai_addrlen);
}

/* The set-up */

static bool append_command(struct redis *redis, int count, const char *const *arguments,
                           const size_t *lengths)
{
    char *command;
    int length = redisFormatCommandArgv(&command, count, (const char **)arguments, lengths);

    if (length < 0)
        return false;
    buffer_append(&redis->waiting, command, (size_t)length);
    redisFreeCommand(command);
    return true;
}

/* One write at a time; commands added meanwhile go with the next. */
static void flush(struct redis *redis)
{
    struct buffer written = redis->flying;
    h2o_iovec_t bytes;

    if (redis->waiting.size == 0 || h2o_socket_is_writing(redis->socket))
        return;
    redis->flying = redis->waiting;
    redis->waiting = written;
    bytes = h2o_iovec_init(redis->flying.bytes, redis->flying.size);
    h2o_socket_write(redis->socket, &bytes, 1, on_written);
}

/* The set-up commands: authentication, the database, then the caller's; false when there is none of
 * this number. */
static bool setup_command(const struct redis *redis, unsigned number, struct redis_setup *command)
{
    const struct redis_url *url = &redis->config->url;

    if (url->password[0] != '\0' && number-- == 0)
        *command = (struct redis_setup){COUNT_OF(redis->sign_on), redis->sign_on, NULL};
    else if (strcmp(url->database, "0") != 0 && number-- == 0)
        *command = (struct redis_setup){COUNT_OF(redis->select), redis->select, NULL};
    else
        *command = redis->config->setup[number];
    return command->count != 0;
}

/* Sends all commands at once: Redis keeps the order. A server that refuses one of them (a replica,
 * one out of memory, a missing permission) is useless, and so is one that does not answer within
 * the timeout of a call. */
static void set_up(struct redis *redis)
{
    struct redis_setup command;

    redis->setup_step = 0;
    reconnect_move(&redis->link, RECONNECT_SETTING_UP);
    timer_start(redis->timers, &redis->link.timer, redis->config->call_timeout_ms);
    for (unsigned i = 0; setup_command(redis, i, &command); ++i) {
        if (!append_command(redis, command.count, command.arguments, command.lengths)) {
            lose(redis, "out of memory");
            return;
        }
    }
    flush(redis);
}

/* hiredis allocates all elements of an array before the first one arrives. */
static void *make_array(const redisReadTask *task, int elements)
{
    struct redis *redis = task->privdata;

    redis->elements += (unsigned)elements;
    return redis->elements <= REDIS_ELEMENTS_MAX
               ? redis->default_makers->createArray(task, elements)
               : NULL;
}

static bool open_reader(struct redis *redis)
{
    redis->reader = redisReaderCreate();
    if (redis->reader == NULL)
        return false;
    redis->default_makers = redis->reader->fn;
    redis->makers = *redis->default_makers;
    redis->makers.createArray = make_array;
    redis->reader->fn = &redis->makers;
    redis->reader->privdata = redis;
    redis->elements = 0;
    return true;
}

static void on_connected(h2o_socket_t *socket, const char *error)
{
    struct redis *redis = socket->data;
    int fd = h2o_socket_get_fd(socket), reason = 0, on = 1;
    socklen_t size = sizeof(reason);

    (void)error; /* SO_ERROR says it */
    lag_begin();
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &reason, &size) == -1)
        reason = errno;
    if (reason != 0) {
        lose_by_error(redis, reason);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a local socket */
    if (!open_reader(redis)) {
        lose(redis, "out of memory");
        return;
    }
    h2o_socket_read_start(socket, on_read);
    set_up(redis);
}

static void on_setup_reply(struct redis *redis, const redisReply *reply)
{
    struct redis_setup command;

    if (reply->type == REDIS_REPLY_ERROR) {
        bool signs_on, is_node = strncmp(reply->str, "MOVED ", 6) == 0;

        setup_command(redis, redis->setup_step, &command);
        /* Only the first word of a reply to AUTH: the rest may repeat the password. */
        signs_on = command.arguments == redis->sign_on;
        failure_set(&redis->refused, "Redis refused %s: %.*s%s", command.arguments[0],
                    (int)(signs_on ? strcspn(reply->str, " ") : reply->len), reply->str,
                    is_node ? " (a node of a Redis Cluster has a part of the keys: give a Redis "
                              "that has all)"
                            : "");
        redis->link.broken = redis->refused.reason;
    } else if (!setup_command(redis, ++redis->setup_step, &command)) {
        redis->ready_ms = clock_monotonic_ms();
        reconnect_move(&redis->link, RECONNECT_READY);
    }
}

/* Calls */

bool redis_send(struct redis *redis, struct redis_call *call, int count,
                const char *const *arguments, const size_t *lengths)
{
    if (!redis_is_ready(redis) || !append_command(redis, count, arguments, lengths))
        return false;
    call->redis = redis;
    call->deadline_ms = clock_monotonic_ms() + redis->config->call_timeout_ms;
    DL_APPEND(redis->calls, call);
    if (!timer_is_running(&redis->link.timer))
        timer_start(redis->timers, &redis->link.timer, redis->config->call_timeout_ms);
    return true;
}

void redis_flush(struct redis *redis)
{
    if (redis->link.state == RECONNECT_READY)
        flush(redis);
}

static void on_written(h2o_socket_t *socket, const char *error)
{
    struct redis *redis = socket->data;

    lag_begin();
    buffer_clear(&redis->flying);
    if (error != NULL)
        lose(redis, "Redis takes no more commands");
    else
        flush(redis);
}

/* Replies */

static void on_reply(struct redis *redis, const redisReply *reply)
{
    struct redis_call *call = redis->calls;

    redis->looks = 0;
    redis->elements = 0;
    if (redis->link.state == RECONNECT_SETTING_UP) {
        on_setup_reply(redis, reply);
    } else if (call == NULL) {
        redis->link.broken = "Redis answered what nobody had asked";
    } else {
        DL_DELETE(redis->calls, call);
        call->on_reply(call, reply, NULL);
    }
}

/* Why the input is unusable; NULL while it is fine. */
static const char *reader_failure(const struct redis *redis)
{
    if (redis->elements > REDIS_ELEMENTS_MAX || redis->reader->len > REDIS_REPLY_MAX)
        return "Redis answers more than could be asked for";
    return redis->reader->err != 0 ? redis->reader->errstr : NULL;
}

/* Nothing was in flight, so nothing is lost: Redis closes idle connections (its `timeout`), and so
 * do firewalls. Reported only when reconnecting fails. */
static bool is_idle_close(const struct redis *redis)
{
    return redis_is_ready(redis) && redis->calls == NULL &&
           clock_monotonic_ms() - redis->ready_ms > LASTING_MS;
}

static void on_closed(struct redis *redis)
{
    if (is_idle_close(redis))
        reconnect_renew(&redis->link);
    else
        lose(redis, "Redis has closed the connection");
}

static void on_read(h2o_socket_t *socket, const char *error)
{
    struct redis *redis = socket->data;
    void *reply;

    lag_begin();
    if (error != NULL) {
        on_closed(redis);
        return;
    }
    redisReaderFeed(redis->reader, socket->input->bytes, socket->input->size);
    h2o_buffer_consume(&socket->input, socket->input->size);
    while (redis->link.broken == NULL && redisReaderGetReply(redis->reader, &reply) == REDIS_OK &&
           reply != NULL) {
        on_reply(redis, reply);
        freeReplyObject(reply);
    }
    if (redis->link.broken == NULL)
        redis->link.broken = reader_failure(redis);
    if (redis->link.broken != NULL)
        lose(redis, redis->link.broken);
}

/* Late calls */

/* The reply may have arrived: a busy loop reads it late. Only when no input is waiting is Redis
 * late. */
static void look_once_more(struct redis *redis)
{
    int arrived = 0;

    if (ioctl(h2o_socket_get_fd(redis->socket), FIONREAD, &arrived) == -1 || arrived == 0 ||
        ++redis->looks == LOOKS_MAX)
        lose(redis, "Redis did not answer in time");
    else
        timer_start(redis->timers, &redis->link.timer, 1);
}

/* The timer runs while calls are in flight, but is not restarted for each: it checks when the
 * oldest is due. */
static void on_overdue(struct reconnect *link)
{
    struct redis *redis = redis_of(link);
    uint64_t now_ms = clock_monotonic_ms();

    if (link->state == RECONNECT_SETTING_UP ||
        (redis->calls != NULL && redis->calls->deadline_ms <= now_ms))
        look_once_more(redis);
    else if (redis->calls != NULL)
        timer_start(redis->timers, &link->timer, redis->calls->deadline_ms - now_ms);
}

/* The way down */

static void stop(struct reconnect *link)
{
    struct redis *redis = redis_of(link);

    resolve_cancel(&redis->resolve);
    if (redis->socket != NULL)
        h2o_socket_close(redis->socket);
    if (redis->reader != NULL)
        redisReaderFree(redis->reader);
    redis->socket = NULL;
    redis->reader = NULL;
    buffer_clear(&redis->waiting);
    buffer_clear(&redis->flying);
    redis->looks = 0;
}

static void tell(struct redis *redis, bool ready)
{
    if (redis->told && redis->told_ready == ready)
        return;
    redis->told = true;
    redis->told_ready = ready;
    redis->config->on_change(redis->config->owner, ready, redis->link.reason.reason);
}

static void on_state(struct reconnect *link, enum reconnect_state before)
{
    (void)before;
    if (link->state == RECONNECT_READY)
        tell(redis_of(link), true);
}

static void fail_calls(struct redis *redis, const char *reason)
{
    while (redis->calls != NULL) {
        struct redis_call *call = redis->calls;

        DL_DELETE(redis->calls, call);
        call->on_reply(call, NULL, reason);
    }
}

static bool on_lost(struct reconnect *link, enum reconnect_state before, bool is_news)
{
    struct redis *redis = redis_of(link);

    (void)before, (void)is_news;
    tell(redis, false);
    fail_calls(redis, link->reason.reason);
    return false;
}

/* With a silent name server, glibc may take longer than an attempt before it asks the next one:
 * starting again would never end. The look-up goes on, and nobody waits for it. */
static void on_slow_name(struct reconnect *link)
{
    failure_set(&link->reason, "looking up the address of Redis takes long");
    tell(redis_of(link), false);
}

void redis_give_up(struct redis *redis, const char *reason)
{
    redis->link.broken = reason;
}

void redis_close(struct redis *redis)
{
    if (redis->config == NULL)
        return;
    reconnect_close(&redis->link);
    fail_calls(redis, "closing");
    buffer_dispose(&redis->waiting);
    buffer_dispose(&redis->flying);
}
