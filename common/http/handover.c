/* The kernel is steered by the position of a socket among those at its address. A process knows its
 * positions only if it was once alone there: its sockets come first. Any other process cannot
 * steer; it leaves SYNs unanswered instead, which costs each client a second.
 */
#include "common/http/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "common/address.h"
#include "common/http/reuseport.h"
#include "common/log.h"

/* 0: no port. */
static in_port_t port_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET    ? ((const struct sockaddr_in *)address)->sin_port
           : address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                            : 0;
}

/* The issuer's default and `jotd healthcheck` use the setting. */
static void warn_of_other_address(int fd, const struct http_address *where)
{
    struct sockaddr_storage socket = {0};
    struct address given;
    socklen_t length = sizeof(socket);

    if (getsockname(fd, (struct sockaddr *)&socket, &length) == 0 &&
        address_parse(where->text, &given) &&
        port_of((struct sockaddr *)&socket) != port_of(&given.socket.any))
        log_warn("serve.other_address", log_str("setting", where->setting),
                 log_str("value", where->text),
                 log_str("reason", "the socket that was handed over is at another port; set this "
                                   "to its address"));
}

static bool take(struct http_address *where, int fd, struct failure *failure)
{
    if (where->inherited != -1)
        return failure_set(failure,
                           "two sockets were handed over for %s: give at most one for each "
                           "address, told apart by FileDescriptorName=",
                           where->setting);
    where->inherited = fd;
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
        return failure_set(failure,
                           "descriptor %d that was handed over is no listening stream socket: use "
                           "ListenStream=",
                           fd);
    if (where->text == NULL)
        return failure_set(failure, "a socket for %s was handed over: set it to its address",
                           where->setting);
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == -1)
        return failure_set(failure, "cannot use the socket for %s: %s", where->setting,
                           strerror(errno));
    log_info("serve.inherited", log_int("fd", fd), log_str("for", where->setting));
    warn_of_other_address(fd, where);
    return true;
}

/* The listener with that fd_name; 0 when there is none. */
static unsigned listener_of(const struct http *http, const char *name)
{
    for (unsigned i = 0; i != http->listener_count; ++i) {
        if (http->addresses[i].fd_name != NULL && strcmp(http->addresses[i].fd_name, name) == 0)
            return i;
    }
    return 0;
}

/* The listeners of this server; those of others are told by name alone. */
static unsigned count_own(const struct http *http)
{
    unsigned count = 0;

    while (count != http->listener_count && !http->addresses[count].is_elsewhere)
        ++count;
    return count;
}

/* Assigned by name; without names, in the order of the listeners. */
bool handover_open(struct http *http, struct failure *failure)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    bool taken = true, named = false;

    if (count < 0)
        return failure_set(failure, "LISTEN_FDS: %s", strerror(-count));
    for (int i = 0; i < count; ++i)
        named = named || listener_of(http, names[i]) != 0;
    for (int i = 0; i < count; ++i) {
        unsigned listener = named                           ? listener_of(http, names[i])
                            : (unsigned)i < count_own(http) ? (unsigned)i
                                                            : 0;

        taken = taken && take(&http->addresses[listener], SD_LISTEN_FDS_START + i, failure);
        free(names[i]);
    }
    free(names);
    return taken;
}

void handover_close(struct http *http)
{
    for (unsigned i = 0; i != http->listener_count; ++i) {
        if (http->addresses[i].inherited != -1)
            close(http->addresses[i].inherited);
    }
}

/* The loop's socket at an address that other processes may share; -1 when there is none. */
static int own_socket(const struct http *http, unsigned loop, unsigned listener)
{
    const struct connections_listener *own = &http->loops[loop]->connections.listeners[listener];

    return own->is_shared ? h2o_socket_get_fd(own->socket) : -1;
}

/* -1 when that cannot be determined. */
static int count_others(const struct http *http, unsigned listener)
{
    int count = reuseport_count(own_socket(http, 0, listener));

    return count == -1 ? -1 : count - (int)http->loop_count;
}

void handover_tell(const struct http *http)
{
    for (unsigned i = 0; i != http->listener_count; ++i) {
        int others = own_socket(http, 0, i) != -1 ? count_others(http, i) : 0;

        if (others > 0)
            log_info("serve.joined", log_str("address", http->addresses[i].text),
                     log_int("sockets", others),
                     log_str("reason", "another process listens at this address: until it ends, "
                                       "each gets a part of the connections"));
    }
}

void handover_watch(struct http *http)
{
    for (unsigned i = 0; i != http->listener_count; ++i) {
        int fd = own_socket(http, 0, i);

        if (fd == -1 || http->addresses[i].is_first || count_others(http, i) != 0)
            continue;
        http->addresses[i].is_first = true;
        reuseport_unsteer(fd); /* the previous process steered to us */
        log_debug("serve.alone", log_str("address", http->addresses[i].text));
    }
}

static void ignore_new(const struct http *http, unsigned listener)
{
    for (unsigned loop = 0; loop != http->loop_count; ++loop) {
        if (!reuseport_ignore_new(own_socket(http, loop, listener)))
            log_warn("serve.not_steered", log_str("reason", strerror(errno)));
    }
}

bool handover_begin(struct http *http)
{
    bool shared = false;

    for (unsigned i = 0; i != http->listener_count; ++i) {
        int fd = own_socket(http, 0, i), others;

        if (fd == -1 || (others = count_others(http, i)) == 0)
            continue;
        shared = true;
        if (!http->addresses[i].is_first || others == -1 ||
            !reuseport_steer(fd, http->loop_count, (unsigned)others))
            ignore_new(http, i);
    }
    return shared;
}

/* From here on sockets close one by one, positions change, and the hash may choose any: clients
 * that still reach ours must try again. */
void handover_end(struct http *http)
{
    for (unsigned i = 0; i != http->listener_count; ++i) {
        if (own_socket(http, 0, i) != -1)
            ignore_new(http, i);
    }
}
