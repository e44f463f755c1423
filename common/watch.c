#include "common/watch.h"

#include <fcntl.h>

#include "common/lag.h"

static void on_readable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;

    (void)error; /* the owner of the descriptor finds out by using it */
    lag_begin();
    watch->on_ready(watch);
}

static void on_writable(h2o_socket_t *socket, const char *error)
{
    struct watch *watch = socket->data;

    (void)error;
    lag_begin();
    watch->on_ready(watch);
}

bool watch_open(struct watch *watch, h2o_loop_t *loop, int fd)
{
    int duplicate = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (duplicate == -1)
        return false;
    watch->socket = h2o_evloop_socket_create(loop, duplicate, H2O_SOCKET_FLAG_DONT_READ);
    watch->socket->data = watch;
    h2o_socket_read_start(watch->socket, on_readable);
    return true;
}

void watch_for_write(struct watch *watch)
{
    /* h2o aborts on a second request while one is pending. */
    if (!h2o_socket_is_writing(watch->socket))
        h2o_socket_notify_write(watch->socket, on_writable);
}

void watch_close(struct watch *watch)
{
    if (watch->socket != NULL) {
        h2o_socket_close(watch->socket);
        watch->socket = NULL;
    }
}
