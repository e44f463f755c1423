#include "common/http/connections.h"

#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
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
#define ACCEPTS_A_PASS  64 /* then other work gets its turn */
#define USER_TIMEOUT_MS 20000
#define SOCKET_BUFFER   65536 /* bytes; the kernel doubles it */
#define LISTEN_BACKLOG  4096  /* the kernel caps it at net.core.somaxconn */

static void on_tick(struct timer *timer);
static void resume(struct connections *connections);
static void on_accept(h2o_socket_t *socket, const char *error);

static void on_room(struct connection_pool *pool)
{
    resume(H2O_STRUCT_FROM_MEMBER(struct connections, pool, pool));
}

void connections_open(struct connections *connections, h2o_context_t *h2o, struct timers *timers,
                      struct connection_bound *bound, uint64_t idle_ms,
                      void (*on_refused)(struct connection_pool *, int status))
{
    *connections = (struct connections){
        .pool = {.accept = {.ctx = h2o, .hosts = h2o->globalconf->hosts},
                 .bound = bound,
                 .memory = {.budget = &bound->memory},
                 .body_max = CONNECTIONS_BODY_MAX,
                 .on_room = on_room,
                 .on_refused = on_refused},
        .h2o = h2o,
        .timers = timers,
        .tick.on_time = on_tick,
        .idle_ms = idle_ms,
    };
    timer_start(timers, &connections->tick, TICK_MS);
}

/* A socket file without a listener is left over from a crash. */
static void remove_stale(const struct address *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1)
        return;
    if (connect(fd, &address->socket.any, address->length) == -1 && errno == ECONNREFUSED)
        unlink(address->socket.local.sun_path);
    close(fd);
}

/* Accepted sockets inherit these: a peer that takes no more data is dropped, and the kernel buffers
 * little for each, where its default is megabytes. No effect on local sockets. */
static void set_peer_options(int fd)
{
    int on = 1, user_timeout_ms = USER_TIMEOUT_MS, buffer = SOCKET_BUFFER;

    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof(user_timeout_ms));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof(buffer));
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer));
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

static void open_listener(struct connections *connections, unsigned number, int fd)
{
    struct connections_listener *listener = &connections->listeners[number];

    set_peer_options(fd);
    *listener = (struct connections_listener){.connections = connections, .number = number};
    listener->socket =
        h2o_evloop_socket_create(connections->h2o->loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->socket->data = listener;
}

bool connections_listen(struct connections *connections, unsigned listener,
                        const struct address *address, struct failure *failure)
{
    int fd = open_socket(address, failure);

    if (fd == -1)
        return false;
    open_listener(connections, listener, fd);
    connections->listeners[listener].is_ours = true;
    connections->listeners[listener].is_shared = address->socket.any.sa_family != AF_UNIX;
    return true;
}

bool connections_listen_with(struct connections *connections, unsigned listener, int fd,
                             bool inherited, struct failure *failure)
{
    int own_fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (own_fd == -1)
        return failure_set(failure, "%s", strerror(errno));
    open_listener(connections, listener, own_fd);
    connections->listeners[listener].is_ours = !inherited;
    return true;
}

static void close_listener(struct connections_listener *listener)
{
    if (listener->socket != NULL)
        h2o_socket_close(listener->socket);
    *listener = (struct connections_listener){0};
}

/* While there is no room, new connections wait in the kernel's backlog. A close or the tick
 * resumes. */
static void pause_listeners(struct connections *connections)
{
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i) {
        if (connections->listeners[i].socket != NULL)
            h2o_socket_read_stop(connections->listeners[i].socket);
    }
}

static void resume(struct connections *connections)
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
    resume(connections);
}

static bool is_full(const struct connections *connections)
{
    return atomic_load(&connections->pool.bound->count) >= connections->pool.bound->max;
}

/* Closes a refused connection; otherwise the one that has waited longest for a request or the rest
 * of one; otherwise, since clients that never read could hold every place, the one whose answer has
 * been unread longest. Never one that waits for us. */
static bool give_up_one(struct connections *connections)
{
    struct connection *refused = connections->pool.in_state[CONNECTION_REFUSED],
                      *idle = connections->pool.in_state[CONNECTION_IDLE],
                      *unfinished = connections->pool.in_state[CONNECTION_UNFINISHED],
                      *unread = connections->pool.in_state[CONNECTION_ANSWERED];

    if (refused != NULL)
        connection_shut(refused, "the limit of connections is reached, this one was refused");
    else if (idle != NULL && (unfinished == NULL || idle->since_ms <= unfinished->since_ms))
        connection_shut(idle, "the limit of connections is reached, this one was idle for longest");
    else if (unfinished != NULL)
        connection_shut(unfinished, "the limit of connections is reached, this one sent slowest");
    else if (unread != NULL &&
             clock_monotonic_ms() - unread->since_ms > CONNECTIONS_UNREAD_AT_BOUND_MS)
        connection_shut(unread, "the limit of connections is reached, this one does not read");
    else
        return false;
    return true;
}

/* At the limit, a connection must close before the next is accepted: one of this loop's, otherwise
 * one of another's. Until then new connections wait. */
static bool has_room(struct connections *connections)
{
    if (!is_full(connections))
        return true;
    if (!give_up_one(connections))
        atomic_store(&connections->pool.bound->wanted, true);
    pause_listeners(connections);
    return false;
}

/* Records the peer now: the kernel no longer reports it once the connection is reset, and h2o's own
 * accept does not ask. NULL with errno on failure, or when nothing is waiting. */
static h2o_socket_t *accept_socket(struct connections_listener *listener)
{
    h2o_loop_t *loop = listener->connections->h2o->loop;
    struct sockaddr_storage peer;
    socklen_t length = sizeof(peer);
    h2o_socket_t *socket;
    int on = 1, fd = accept4(h2o_socket_get_fd(listener->socket), (struct sockaddr *)&peer, &length,
                             SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd == -1)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* fails on a local socket */
    socket = h2o_evloop_socket_create(loop, fd, H2O_SOCKET_FLAG_IS_ACCEPTED_CONNECTION);
    h2o_socket_setpeername(socket, (struct sockaddr *)&peer, length);
    return socket;
}

static bool accept_one(struct connections_listener *listener)
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
    connection_adopt(&listener->connections->pool, socket, listener->number);
    return true;
}

static void on_accept(h2o_socket_t *socket, const char *error)
{
    struct connections_listener *listener = socket->data;
    struct connections *connections = listener->connections;

    (void)error; /* a listening socket has none */
    lag_begin();
    if (!has_room(connections))
        return;
    for (int i = 0; i != ACCEPTS_A_PASS && accept_one(listener); ++i) {
        if (is_full(connections))
            break; /* close no other: nobody may be waiting */
    }
}

static void end_overdue(struct connections *connections, enum connection_state state,
                        uint64_t allowed_ms, const char *reason)
{
    uint64_t now_ms = clock_monotonic_ms();
    struct connection *connection;

    while ((connection = connections->pool.in_state[state]) != NULL &&
           now_ms - connection->since_ms > allowed_ms)
        connection_shut(connection, reason); /* it leaves the list */
}

/* Input that has arrived is still read and answered; then h2o sees end of file. */
static void stop_reading(struct connection *first)
{
    struct connection *connection;

    DL_FOREACH (first, connection)
        shutdown(h2o_socket_get_fd(connection->socket), SHUT_RD);
}

static void on_tick(struct timer *timer)
{
    struct connections *connections = H2O_STRUCT_FROM_MEMBER(struct connections, tick, timer);

    timer_start(connections->timers, &connections->tick, TICK_MS);
    if (atomic_exchange(&connections->pool.bound->wanted, false) && !give_up_one(connections))
        atomic_store(&connections->pool.bound->wanted, true); /* another loop may have one */
    resume(connections);
    connection_end_condemned(&connections->pool);
    end_overdue(connections, CONNECTION_IDLE, connections->idle_ms, "idle");
    end_overdue(connections, CONNECTION_UNFINISHED, CONNECTIONS_SLOW_MS,
                "the request was not complete in time");
    end_overdue(connections, CONNECTION_WORKED_ON, CONNECTIONS_WORK_MS,
                "the request was not answered in time");
    end_overdue(connections, CONNECTION_ANSWERED, CONNECTIONS_UNREAD_MS,
                "the answer was not read in time");
    end_overdue(connections, CONNECTION_REFUSED, CONNECTIONS_REFUSED_MS, "it was refused");
    if (connections->drain_at_ms != 0 && clock_monotonic_ms() >= connections->drain_at_ms) {
        stop_reading(connections->pool.in_state[CONNECTION_IDLE]);
        stop_reading(connections->pool.in_state[CONNECTION_UNFINISHED]);
    }
}

void connections_drain(struct connections *connections, uint64_t end_idle_at_ms)
{
    connections->drain_at_ms = end_idle_at_ms;
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i) {
        struct connections_listener *listener = connections->listeners + i;

        /* Closing would reset connections in the backlog. */
        while (listener->is_ours && accept_one(listener))
            ;
        close_listener(listener);
    }
}

void connections_abort(struct connections *connections)
{
    for (int state = 0; state != CONNECTION_STATES; ++state) {
        while (connections->pool.in_state[state] != NULL)
            connection_shut(connections->pool.in_state[state], "the time to drain is over");
    }
}

void connections_close(struct connections *connections)
{
    for (size_t i = 0; i != COUNT_OF(connections->listeners); ++i)
        close_listener(connections->listeners + i);
    timer_stop(connections->timers, &connections->tick);
}
