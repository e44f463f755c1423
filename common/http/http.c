#include "common/http/http.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/address.h"

bool http_loop_open(struct http_loop *loop, struct http *http,
                    void (*on_refused)(struct connection_pool *, int status),
                    struct failure *failure)
{
    loop->http = http;
    loop->loop = h2o_evloop_create();
    http->loops[http->loop_count++] = loop;
    h2o_context_init(&loop->h2o, loop->loop, &http->h2o);
    if (!timers_open(&loop->timers, loop->loop))
        return failure_set(failure, "no file descriptor left; raise the limit of open files");
    connections_open(&loop->connections, &loop->h2o, &loop->timers, &http->connections,
                     http->idle_ms, on_refused);
    if (http->body_max != 0)
        loop->connections.pool.body_max = http->body_max;
    return true;
}

/* The process that this one replaces may still listen there. */
static void take_over(const struct http_address *where, const struct address *address)
{
    const char *path = address->socket.local.sun_path;
    struct stat status;

    if (where->takes_over && address->socket.any.sa_family == AF_UNIX &&
        lstat(path, &status) == 0 && S_ISSOCK(status.st_mode))
        unlink(path);
}

static bool set_mode(const struct http_address *where, const struct address *address,
                     struct failure *failure)
{
    const char *path = address->socket.local.sun_path;

    return address->socket.any.sa_family != AF_UNIX || where->mode == 0 ||
           chmod(path, where->mode) == 0 || failure_set(failure, "%s", strerror(errno));
}

/* The loops share a socket that was handed over, and the first loop's local socket. */
static bool listen_at(struct http_loop *loop, unsigned listener, struct failure *failure)
{
    struct connections *connections = &loop->connections;
    const struct http_address *where = &loop->http->addresses[listener];
    h2o_socket_t *first = loop->http->loops[0]->connections.listeners[listener].socket;
    struct address address;
    struct failure cause;
    bool listens;

    if (!address_parse(where->text, &address))
        return failure_set(failure, "cannot listen at %s", where->text);
    if (where->inherited == -1)
        take_over(where, &address);
    if (where->inherited != -1)
        listens = connections_listen_with(connections, listener, where->inherited, true, &cause);
    else if (address.socket.any.sa_family == AF_UNIX && first != NULL)
        listens =
            connections_listen_with(connections, listener, h2o_socket_get_fd(first), false, &cause);
    else
        listens = connections_listen(connections, listener, &address, &cause) &&
                  set_mode(where, &address, &cause);
    return listens || failure_set(failure, "cannot listen at %s: %s; set %s", where->text,
                                  cause.reason, where->setting);
}

bool http_loop_listen(struct http_loop *loop, struct failure *failure)
{
    for (unsigned i = 0; i != loop->http->listener_count; ++i) {
        const struct http_address *where = &loop->http->addresses[i];

        if (where->text != NULL && !where->is_elsewhere && !listen_at(loop, i, failure))
            return false;
    }
    return true;
}

void http_loop_close(struct http_loop *loop)
{
    connections_close(&loop->connections);
    timers_close(&loop->timers);
    /* h2o asserts that no connection is left: if one could not be closed, process exit does the
     * rest. */
    if (http_loop_connections(loop) == 0) {
        h2o_context_dispose(&loop->h2o);
        h2o_evloop_destroy(loop->loop);
    }
}
