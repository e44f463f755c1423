#include "common/http/connection.h"

#include <errno.h>
#include <h2o/http1.h>
#include <stdlib.h>
#include <unistd.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/http/http_head.h"
#include "common/lag.h"
#include "common/log.h"

#define DROPPED_MAX     2097152 /* bytes read and dropped after a refusal */
#define WARN_EVERY_MS   10000
#define HEADERS_PIECE   4096
#define SMALLEST_BUFFER (2 * H2O_SOCKET_INITIAL_INPUT_BUFFER_SIZE) /* as h2o allocates it */

/* The answer to incomplete requests, which h2o would keep waiting for, or answer in plain text. */
#define REFUSAL(status, length, complaint)                                                         \
    "HTTP/1.1 " status "\r\n"                                                                      \
    "Connection: close\r\n"                                                                        \
    "Content-Type: application/json\r\n"                                                           \
    "Cache-Control: no-store\r\n"                                                                  \
    "Pragma: no-cache\r\n"                                                                         \
    "Content-Length: " length "\r\n\r\n" BODY(complaint)
#define BODY(complaint) "{\"error\":\"invalid_request\",\"error_description\":\"" complaint "\"}"
_Static_assert(sizeof(BODY(CONNECTION_HEAD_COMPLAINT)) - 1 == 96, "as Content-Length says");
_Static_assert(sizeof(BODY(CONNECTION_BODY_COMPLAINT)) - 1 == 92, "as Content-Length says");

static void unlist(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSING)
        DL_DELETE(connection->pool->in_state[connection->state], connection);
}

static void enlist(struct connection *connection, enum connection_state state)
{
    lag_begin();
    connection->state = state;
    connection->since_ms = lag_since_us / 1000; /* start of this turn */
    DL_APPEND(connection->pool->in_state[state], connection);
}

static void move(struct connection *connection, enum connection_state state)
{
    if (connection->state == CONNECTION_CLOSING || connection->state == state)
        return;
    unlist(connection);
    enlist(connection, state);
}

/* h2o then reads end of file, or fails to write, and closes. */
void connection_shut(struct connection *connection, const char *reason)
{
    log_debug("connection.closed", log_str("reason", reason));
    unlist(connection);
    connection->state = CONNECTION_CLOSING;
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

static void on_close(void *data)
{
    struct connection *connection = data;
    struct connection_pool *pool = connection->pool;

    unlist(connection);
    memory_budget_hold(&connection->memory, 0, 0);
    if (pool->at_hand == connection)
        pool->at_hand = NULL;
    atomic_fetch_sub(&pool->count, 1);
    atomic_fetch_sub(&pool->bound->count, 1);
    free(connection);
    pool->on_room(pool);
}

static void warn_of_memory(struct connection_pool *pool)
{
    uint64_t now_ms = clock_monotonic_ms();

    if (pool->warned_ms != 0 && now_ms - pool->warned_ms < WARN_EVERY_MS)
        return;
    pool->warned_ms = now_ms;
    log_warn(
        "connections.over_budget",
        log_str("reason",
                "unfinished requests hold more than JOTD_MEMORY_BUDGET; the connections with the "
                "largest are closed"));
}

void connection_end_condemned(struct connection_pool *pool)
{
    struct memory_piece *piece;

    while ((piece = memory_budget_take_condemned(&pool->memory)) != NULL) {
        struct connection *connection = H2O_STRUCT_FROM_MEMBER(struct connection, memory, piece);

        warn_of_memory(pool);
        pool->h2o_on_read(connection->socket, "too much memory"); /* h2o frees it */
    }
}

/* h2o copies the headers before it waits for a body: into 4 KiB pieces, each header with its name
 * twice and a structure, three to four times their length in all. */
static size_t held_by(const struct connection *connection)
{
    const h2o_buffer_t *input = connection->socket->input;

    if (input->bytes == NULL ||
        (connection->state != CONNECTION_UNFINISHED && input->capacity <= SMALLEST_BUFFER))
        return 0;
    return input->capacity +
           (connection->head_length != 0 ? HEADERS_PIECE + 4 * connection->head_length : 0);
}

static void weigh(struct connection *connection)
{
    const h2o_buffer_t *input = connection->socket->input;

    memory_budget_hold(&connection->memory, held_by(connection),
                       input->capacity > SMALLEST_BUFFER ? input->capacity : input->size);
    connection_end_condemned(connection->pool);
}

static void on_dropped(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = socket->on_close.data;
    char dropped[16384];
    ssize_t count = read(h2o_socket_get_fd(socket), dropped, sizeof(dropped));

    (void)error;
    lag_begin();
    connection->dropped += count > 0 ? (size_t)count : 0;
    if (count == 0 || (count == -1 && errno != EAGAIN && errno != EINTR) ||
        connection->dropped > DROPPED_MAX)
        connection->pool->h2o_on_read(socket, "refused"); /* h2o frees it */
}

/* Closing a socket with unread input resets it, and the answer may be lost: so read and drop input
 * for a while. h2o no longer looks at it. */
static void on_refused(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = socket->on_close.data;

    lag_begin();
    h2o_buffer_consume(&socket->input, socket->input->size);
    if (error != NULL || connection->state == CONNECTION_CLOSING) {
        connection->pool->h2o_on_read(socket, "refused");
        return;
    }
    memory_budget_hold(&connection->memory, 0, 0);
    shutdown(h2o_socket_get_fd(socket), SHUT_WR);
    h2o_socket_read_start(socket, on_dropped);
}

static void refuse(struct connection *connection, int status, h2o_iovec_t answer)
{
    connection->pool->on_refused(connection->pool, status);
    move(connection, CONNECTION_REFUSED);
    h2o_socket_read_stop(connection->socket);
    h2o_socket_write(connection->socket, &answer, 1, on_refused);
}

/* h2o waits for the end of a head up to 400 KiB, and for the end of a body up to 1 MiB. */
static void look_at_size(struct connection *connection)
{
    const h2o_buffer_t *input = connection->socket->input;

    if (connection->head_length == 0)
        connection->head_length = http_head_length(input->bytes, input->size);
    if (connection->state != CONNECTION_UNFINISHED || h2o_socket_is_writing(connection->socket))
        return;
    if (connection->head_length == 0 && input->size > HTTP_HEAD_MAX)
        refuse(connection, 431,
               (h2o_iovec_t){H2O_STRLIT(REFUSAL("431 Request Header Fields Too Large", "96",
                                                CONNECTION_HEAD_COMPLAINT))});
    else if (connection->head_length != 0 &&
             input->size - connection->head_length > connection->pool->body_max)
        refuse(connection, 413,
               (h2o_iovec_t){
                   H2O_STRLIT(REFUSAL("413 Content Too Large", "92", CONNECTION_BODY_COMPLAINT))});
}

static void on_read(h2o_socket_t *socket, const char *error);
static void on_written(h2o_socket_t *socket, const char *error);

/* Runs after h2o has handled a connection: it may have begun to send, or to read again.
 * connection_work already knows of a complete request. The connection may be gone afterwards. */
static void settle(struct connection *connection)
{
    h2o_socket_t *socket = connection->socket;

    if (socket->_cb.read == connection->pool->h2o_on_read)
        socket->_cb.read = on_read;
    /* 100 Continue, or an error that h2o answers itself. */
    if (h2o_socket_is_writing(socket) && socket->_cb.write != on_written) {
        connection->h2o_on_written = socket->_cb.write;
        socket->_cb.write = on_written;
    }
    if (connection->state != CONNECTION_WORKED_ON)
        move(connection, socket->input->size == 0 ? CONNECTION_IDLE : CONNECTION_UNFINISHED);
    if (connection->state == CONNECTION_UNFINISHED || socket->input->capacity > SMALLEST_BUFFER)
        look_at_size(connection);
    weigh(connection);
}

static void pass_on(struct connection *connection, h2o_socket_cb callback, const char *error)
{
    struct connection_pool *pool = connection->pool;

    lag_begin();
    pool->at_hand = connection;
    connection_end_condemned(pool); /* condemned by other workers since the last turn */
    if (pool->at_hand != NULL)
        callback(connection->socket, error);
    if (pool->at_hand != NULL)
        settle(connection);
    pool->at_hand = NULL;
}

/* One read: h2o itself would read as long as input arrives, megabytes at once. */
static const char *read_some(h2o_socket_t *socket)
{
    h2o_iovec_t room = h2o_buffer_reserve(&socket->input, 4096);
    ssize_t count = read(h2o_socket_get_fd(socket), room.base, room.len);

    if (count > 0)
        socket->input->size += (size_t)count;
    socket->bytes_read = count > 0 ? (size_t)count : 0;
    if (count == 0)
        return h2o_socket_error_closed;
    return count > 0 || errno == EAGAIN || errno == EINTR ? NULL : h2o_socket_error_io;
}

static void on_read(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = socket->on_close.data;

    (void)error;
    pass_on(connection, connection->pool->h2o_on_read, read_some(socket));
}

/* Even when the answer could not be sent, h2o would work on the requests it has read after it: a
 * read error makes it close instead.
 */
static void on_written(h2o_socket_t *socket, const char *error)
{
    struct connection *connection = socket->on_close.data;
    bool is_over = error != NULL || connection->state == CONNECTION_CLOSING;

    connection->head_length = 0;
    pass_on(connection, is_over ? connection->pool->h2o_on_read : connection->h2o_on_written,
            is_over ? "no answer can be sent" : NULL);
}

void connection_adopt(struct connection_pool *pool, h2o_socket_t *socket, unsigned listener)
{
    struct connection *connection = h2o_mem_alloc(sizeof(*connection));
    struct timeval now;

    *connection = (struct connection){
        .pool = pool, .socket = socket, .listener = listener, .memory = {.holder = &pool->memory}};
    socket->on_close.cb = on_close;
    socket->on_close.data = connection;
    h2o_socket_dont_read(socket, true); /* on_read does */
    enlist(connection, CONNECTION_IDLE);
    atomic_fetch_add(&pool->count, 1);
    atomic_fetch_add(&pool->bound->count, 1);
    gettimeofday(&now, NULL);
    h2o_http1_accept(&pool->accept, socket, now);
    pool->h2o_on_read = socket->_cb.read;
    settle(connection);
}

struct connection *connection_of(const h2o_req_t *req)
{
    return req->conn->callbacks->get_socket(req->conn)->on_close.data;
}

/* Input that arrives before the answer is sent waits in the kernel until h2o reads again. */
static void on_early(h2o_socket_t *socket, const char *error)
{
    (void)error;
    h2o_socket_read_stop(socket);
}

/* h2o does not read while it works on a request. It would take the connection out of epoll at the
 * end of the turn and put it back after the answer: two system calls per request. So the connection
 * stays in epoll, and its input in the kernel. */
void connection_work(struct connection *connection)
{
    h2o_socket_read_start(connection->socket, on_early);
    connection->request_us = clock_monotonic_us();
    move(connection, CONNECTION_WORKED_ON);
}

/* Our callback may be there already: settle puts it when a part is sent from within h2o's. */
static void take_written(struct connection *connection)
{
    h2o_socket_t *socket = connection->socket;

    if (!h2o_socket_is_writing(socket) || socket->_cb.write == on_written)
        return;
    connection->h2o_on_written = socket->_cb.write;
    socket->_cb.write = on_written;
}

/* The time that a part may take starts again. */
void connection_continue(struct connection *connection)
{
    take_written(connection);
    if (connection->state == CONNECTION_WORKED_ON) {
        unlist(connection);
        enlist(connection, CONNECTION_WORKED_ON);
    }
}

void connection_answer(struct connection *connection)
{
    take_written(connection);
    move(connection, CONNECTION_ANSWERED);
}
