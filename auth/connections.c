/* Client connections: see connections.h. */
#include "auth/connections.h"

#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
#include <h2o/http1.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/lag.h"
#include "common/log.h"

#define TICK_MS         100
#define ACCEPTS_A_PASS  64   /* then the others have their turn */
#define SWEEP_A_TICK    1000 /* connections looked at */
#define USER_TIMEOUT_MS 20000
#define LISTEN_BACKLOG  4096 /* the kernel caps it at net.core.somaxconn */

static void on_tick(struct timer *timer);
static void on_accept(h2o_socket_t *socket, const char *error);

void connections_open(struct connections *connections, h2o_context_t *h2o, struct timers *timers,
                      struct connection_bound *bound, uint64_t idle_ms)
{
    *connections = (struct connections){.h2o = h2o,
                                        .timers = timers,
                                        .accept = {.ctx = h2o, .hosts = h2o->globalconf->hosts},
                                        .tick.on_time = on_tick,
                                        .bound = bound,
                                        .idle_ms = idle_ms};
    timer_start(timers, &connections->tick, TICK_MS);
}

/* A socket file that nobody listens on any more is left over from a crash. */
static void remove_stale(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return;
    if (connect(fd, &address->socket.any, address->length) == -1 && errno == ECONNREFUSED)
        unlink(address->socket.local.sun_path);
    close(fd);
}

/* Inherited by what is accepted: a peer that takes nothing any more is given up. Local sockets have
 * none of this. */
static void set_peer_timeouts(int fd)
{
    int on = 1, user_timeout_ms = USER_TIMEOUT_MS;

    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static int open_socket(const struct address *address, struct failure *failure)
{
    int fd, on = 1;
    bool local = address->socket.any.sa_family == AF_UNIX;

    if (local)
        remove_stale(address);
    fd = socket(address->socket.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        failure_set(failure, "no socket: %s", strerror(errno));
        return -1;
    }
    if (!local) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
    }
    if (bind(fd, &address->socket.any, address->length) == -1 || listen(fd, LISTEN_BACKLOG) == -1) {
        failure_set(failure, "%s%s", strerror(errno),
                    errno == EADDRINUSE ? " (is another program there?)" : "");
        close(fd);
        return -1;
    }
    return fd;
}

static void open_listener(struct connections *connections, int fd, bool operations)
{
    struct listener *listener = &connections->listeners[operations];

    set_peer_timeouts(fd);
    *listener = (struct listener){.connections = connections, .operations = operations};
    listener->socket =
        h2o_evloop_socket_create(connections->h2o->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->socket->data = listener;
}

bool connections_listen(struct connections *connections, const struct address *address,
                        bool operations, struct failure *failure)
{
    int fd = open_socket(address, failure);

    if (fd == -1)
        return false;
    open_listener(connections, fd, operations);
    connections->listeners[operations].is_ours = true;
    connections->listeners[operations].is_shared = address->socket.any.sa_family != AF_UNIX;
    return true;
}

bool connections_listen_with(struct connections *connections, int fd, bool operations,
                             bool inherited, struct failure *failure)
{
    int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (own_fd == -1)
        return failure_set(failure, "%s", strerror(errno));
    open_listener(connections, own_fd, operations);
    connections->listeners[operations].is_ours = !inherited;
    return true;
}

static void close_listener(struct listener *listener)
{
    if (listener->socket != NULL)
        h2o_socket_close(listener->socket);
    *listener = (struct listener){0};
}

/* While there is no room, what comes waits in the kernel's queue. A close or the tick resumes. */
static void pause_listeners(struct connections *connections)
{
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i) {
        if (connections->listeners[i].socket != NULL)
            h2o_socket_read_stop(connections->listeners[i].socket);
    }
}

static void resume_listeners(struct connections *connections)
{
    if (!connections->accepts)
        return;
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i) {
        h2o_socket_t *socket = connections->listeners[i].socket;

        if (socket != NULL && !h2o_socket_is_reading(socket))
            h2o_socket_read_start(socket, on_accept);
    }
}

void connections_accept(struct connections *connections)
{
    connections->accepts = true;
    resume_listeners(connections);
}

static void unlist(struct connection *connection)
{
    struct connections *owner = connection->owner;

    if (connection->closing)
        return;
    if (owner->sweep == connection)
        owner->sweep = connection->next;
    if (connection->busy)
        DL_DELETE(owner->busy, connection);
    else
        DL_DELETE(owner->waiting, connection);
}

static void enlist(struct connection *connection)
{
    struct connections *owner = connection->owner;

    connection->since_ms = clock_monotonic_ms();
    if (connection->busy)
        DL_APPEND(owner->busy, connection);
    else
        DL_APPEND(owner->waiting, connection);
}

/* h2o reads the end, or fails to write, and closes. */
static void shut(struct connection *connection, const char *reason)
{
    log_debug("connection.closed", log_str("reason", reason));
    unlist(connection);
    connection->closing = true;
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

static void on_close(void *data)
{
    struct connection *connection = data;
    struct connections *owner = connection->owner;

    unlist(connection);
    atomic_fetch_sub(&owner->count, 1);
    atomic_fetch_sub(&owner->bound->count, 1);
    free(connection);
    resume_listeners(owner);
}

static void adopt(struct listener *listener, h2o_socket_t *socket)
{
    struct connections *owner = listener->connections;
    struct connection *connection = h2o_mem_alloc(sizeof(*connection));
    struct timeval now;

    *connection =
        (struct connection){.owner = owner, .socket = socket, .operations = listener->operations};
    socket->on_close.cb = on_close;
    socket->on_close.data = connection;
    enlist(connection);
    atomic_fetch_add(&owner->count, 1);
    atomic_fetch_add(&owner->bound->count, 1);
    gettimeofday(&now, NULL);
    h2o_http1_accept(&owner->accept, socket, now);
}

static bool is_full(const struct connections *connections)
{
    return atomic_load(&connections->bound->count) >= connections->bound->max;
}

static void give_up_idle(struct connections *connections)
{
    shut(connections->waiting, "the bound of connections is reached, this one idled longest");
}

/* At the bound, the longest idle one has to go before another may come: one of this worker's, else
 * one of another's. Until then, what comes waits. */
static bool has_room(struct connections *connections)
{
    if (!is_full(connections))
        return true;
    if (connections->waiting != NULL)
        give_up_idle(connections);
    else
        atomic_store(&connections->bound->wanted, true);
    pause_listeners(connections);
    return false;
}

/* The peer is known from here on: the kernel would not tell it any more once the connection is
 * reset, and h2o's own accept does not ask. NULL, with errno, when there is none. */
static h2o_socket_t *accept_socket(struct listener *listener)
{
    h2o_loop_t *loop = listener->connections->h2o->loop;
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    h2o_socket_t *socket;
    int on = 1, fd = accept4(h2o_socket_get_fd(listener->socket), (struct sockaddr *)&peer, &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* a local socket has none */
    socket = h2o_evloop_socket_create(loop, fd, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    h2o_socket_setpeername(socket, (struct sockaddr *)&peer, length);
    return socket;
}

static bool accept_one(struct listener *listener)
{
    h2o_socket_t *socket = accept_socket(listener);

    if (socket == NULL) {
        if (errno == EMFILE || errno == ENFILE) {
            if (!listener->connections->out_of_files)
                log_error("connections.refused", log_str("reason", "no file descriptor left; raise "
                                                                   "the limit of open files"));
            listener->connections->out_of_files = true;
            pause_listeners(listener->connections);
        }
        return false;
    }
    listener->connections->out_of_files = false;
    adopt(listener, socket);
    return true;
}

static void on_accept(h2o_socket_t *socket, const char *error)
{
    struct listener *listener = socket->data;
    struct connections *connections = listener->connections;

    (void)error; /* a listening socket has none */
    lag_begin();
    if (!has_room(connections))
        return;
    for (int i = 0; i != ACCEPTS_A_PASS && accept_one(listener); ++i) {
        if (is_full(connections))
            break; /* whether another one waits is not known here */
    }
}

/* A round over all is done: the next one begins. */
static void finish_sweep(struct connections *connections, uint64_t now_ms)
{
    connections->round_ms = now_ms;
    connections->over_budget = connections->swept_bytes > CONNECTIONS_BUDGET;
    connections->swept_bytes = 0;
    connections->sweep = connections->waiting;
    if (connections->over_budget)
        log_warn("connections.over_budget",
                 log_str("reason", "what clients have sent holds too much memory; connections with "
                                   "large buffers are ended"));
}

/* Senders that began a request and do not end it, and those that send much when all of them
 * together hold too much. h2o's own timeout cannot tell them from those that idle, so a part of the
 * list is looked at in each tick. */
static void sweep_partial(struct connections *connections, uint64_t now_ms)
{
    for (int i = 0; i != SWEEP_A_TICK; ++i) {
        struct connection *connection = connections->sweep;
        size_t size, capacity;

        /* Who came since the round began waits for the next one: under load the end of the list
         * runs away. */
        if (connection == NULL || connection->since_ms > connections->round_ms) {
            finish_sweep(connections, now_ms);
            return;
        }
        connections->sweep = connection->next;
        size = connection->socket->input->size;
        capacity = connection->socket->input->capacity;
        connections->swept_bytes += capacity;
        if (connections->over_budget && capacity > CONNECTIONS_LARGE)
            shut(connection, "it holds much memory, and there is too much of that");
        else if (size == 0)
            connection->partial_ms = 0;
        else if (connection->partial_ms == 0)
            connection->partial_ms = now_ms;
        else if (now_ms - connection->partial_ms > CONNECTIONS_SLOW_MS)
            shut(connection, "the request was not whole in time");
    }
}

static void end_idle(struct connections *connections, uint64_t now_ms)
{
    struct connection *connection, *next;

    DL_FOREACH_SAFE (connections->waiting, connection, next) {
        if (now_ms - connection->since_ms < connections->idle_ms)
            break; /* the others are younger */
        if (connection->socket->input->size == 0)
            shut(connection, "idle");
    }
    DL_FOREACH_SAFE (connections->busy, connection, next) {
        if (now_ms - connection->since_ms < CONNECTIONS_BUSY_MS)
            break;
        shut(connection, "the answer was not read in time");
    }
}

static void on_tick(struct timer *timer)
{
    struct connections *connections = H2O_STRUCT_FROM_MEMBER(struct connections, tick, timer);
    uint64_t now_ms = clock_monotonic_ms();
    struct connection *connection;

    timer_start(connections->timers, &connections->tick, TICK_MS);
    if (connections->waiting != NULL && atomic_exchange(&connections->bound->wanted, false))
        give_up_idle(connections);
    resume_listeners(connections);
    sweep_partial(connections, now_ms);
    end_idle(connections, now_ms);
    if (connections->drain_at_ms != 0 && now_ms >= connections->drain_at_ms) {
        /* What has arrived is still read and answered, then h2o finds the end. */
        DL_FOREACH (connections->waiting, connection)
            shutdown(h2o_socket_get_fd(connection->socket), SHUT_RD);
    }
}

void connections_drain(struct connections *connections, uint64_t end_idle_at_ms)
{
    connections->drain_at_ms = end_idle_at_ms;
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i) {
        struct listener *listener = connections->listeners + i;

        /* What waits in the queue would be reset by closing. */
        while (listener->is_ours && accept_one(listener))
            ;
        close_listener(listener);
    }
}

void connections_abort(struct connections *connections)
{
    while (connections->waiting != NULL)
        shut(connections->waiting, "the time to drain is over");
    while (connections->busy != NULL)
        shut(connections->busy, "the time to drain is over");
}

void connections_close(struct connections *connections)
{
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i)
        close_listener(connections->listeners + i);
    timer_stop(connections->timers, &connections->tick);
}

struct connection *connection_of(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

/* What comes before the answer has left waits in the kernel; h2o reads it then. */
static void on_early(h2o_socket_t *socket, const char *error)
{
    (void)error;
    h2o_socket_read_stop(socket);
}

/* h2o does not read while a request is worked on. By itself it would take the connection out of
 * epoll at the end of the turn and put it back after the answer: two system calls for every token.
 * So the connection stays there, and its bytes are left alone. */
static void stay_in_epoll(h2o_socket_t *socket, bool busy)
{
    h2o_socket_dont_read(socket, busy);
    if (busy)
        h2o_socket_read_start(socket, on_early);
}

void connection_set_busy(struct connection *connection, bool busy)
{
    stay_in_epoll(connection->socket, busy);
    unlist(connection);
    connection->busy = busy;
    connection->partial_ms = 0;
    if (!connection->closing)
        enlist(connection);
}
