/* Restarts that lose no connection: see handover.h.
 *
 * Where our sockets stand in the kernel's list of those at an address is known only to a process
 * that was alone there at some time: its own come first. One that was not cannot steer; it lets
 * SYNs go unanswered instead, which costs whoever sent them a second.
 */
#include "common/http/handover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "auth/worker.h"
#include "common/address.h"
#include "common/http/reuseport.h"
#include "common/log.h"

static const char *address_text(const struct process *process, bool operations)
{
    return operations ? process->settings.metrics_listen : process->settings.listen;
}

/* 0: none. */
static in_port_t port_of(const struct sockaddr *address)
{
    return address->sa_family == AF_INET    ? ((const struct sockaddr_in *)address)->sin_port
           : address->sa_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                            : 0;
}

/* The issuer's default and `jotd healthcheck` go by the setting. */
static void warn_of_other_address(int fd, const char *name, const char *text)
{
    struct sockaddr_storage socket = {0};
    struct address given;
    socklen_t length = sizeof(socket);

    if (getsockname(fd, (struct sockaddr *)&socket, &length) == 0 && address_parse(text, &given) &&
        port_of((struct sockaddr *)&socket) != port_of(&given.socket.any))
        log_warn("serve.other_address", log_str("setting", name), log_str("value", text),
                 log_str("reason", "the socket that was handed over is at another port; set this "
                                   "to its address"));
}

static bool take(struct process *process, int fd, bool operations, struct failure *failure)
{
    const char *name = operations ? "JOTD_METRICS_LISTEN" : "JOTD_LISTEN";

    if (process->handover.inherited[operations] != -1)
        return failure_set(failure,
                           "two sockets were handed over for %s: give at most one for JOTD_LISTEN "
                           "and one, FileDescriptorName=metrics, for JOTD_METRICS_LISTEN",
                           name);
    process->handover.inherited[operations] = fd;
    if (sd_is_socket(fd, AF_UNSPEC, SOCK_STREAM, 1) <= 0)
        return failure_set(failure,
                           "descriptor %d that was handed over is no listening stream socket: use "
                           "ListenStream=",
                           fd);
    if (address_text(process, operations) == NULL)
        return failure_set(failure,
                           "a socket for metrics was handed over: set JOTD_METRICS_LISTEN to its "
                           "address");
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) == -1)
        return failure_set(failure, "cannot use the socket for %s: %s", name, strerror(errno));
    log_info("serve.inherited", log_int("fd", fd), log_str("for", name));
    warn_of_other_address(fd, name, address_text(process, operations));
    return true;
}

/* The one that is named `metrics` is for that; without names, the second one. */
bool handover_open(struct process *process, struct failure *failure)
{
    char **names = NULL;
    int count = sd_listen_fds_with_names(1, &names);
    bool taken = true, named = false;

    if (count < 0)
        return failure_set(failure, "LISTEN_FDS: %s", strerror(-count));
    for (int i = 0; i < count; ++i)
        named = named || strcmp(names[i], "metrics") == 0;
    for (int i = 0; i < count; ++i) {
        bool operations = named ? strcmp(names[i], "metrics") == 0 : i == 1;

        taken = taken && take(process, SD_LISTEN_FDS_START + i, operations, failure);
        free(names[i]);
    }
    free(names);
    return taken;
}

void handover_close(struct process *process)
{
    for (int i = 0; i != 2; ++i) {
        if (process->handover.inherited[i] != -1)
            close(process->handover.inherited[i]);
    }
}

/* The worker's socket at an address that we share with whoever comes; -1 when there is none. */
static int own_socket(const struct process *process, size_t worker, int operations)
{
    const struct listener *listener = &process->workers[worker].connections.listeners[operations];

    return listener->is_shared ? h2o_socket_get_fd(listener->socket) : -1;
}

/* -1 where that is not to be found out. */
static int count_others(const struct process *process, int operations)
{
    int count = reuseport_count(own_socket(process, 0, operations));

    return count == -1 ? -1 : count - (int)process->worker_count;
}

void handover_tell(const struct process *process)
{
    for (int i = 0; i != 2; ++i) {
        int others = own_socket(process, 0, i) != -1 ? count_others(process, i) : 0;

        if (others > 0)
            log_info("serve.joined", log_str("address", address_text(process, i)),
                     log_int("sockets", others),
                     log_str("reason", "another process listens at this address: until it ends, "
                                       "each gets a part of the connections"));
    }
}

void handover_watch(struct process *process)
{
    for (int i = 0; i != 2; ++i) {
        int fd = own_socket(process, 0, i);

        if (fd == -1 || process->handover.first[i] || count_others(process, i) != 0)
            continue;
        process->handover.first[i] = true;
        reuseport_unsteer(fd); /* to us, by the process before */
        log_debug("serve.alone", log_str("address", address_text(process, i)));
    }
}

static void ignore_new(const struct process *process, int operations)
{
    for (size_t w = 0; w != process->worker_count; ++w) {
        if (!reuseport_ignore_new(own_socket(process, w, operations)))
            log_warn("serve.not_steered", log_str("reason", strerror(errno)));
    }
}

bool handover_begin(struct process *process)
{
    bool shared = false;

    for (int i = 0; i != 2; ++i) {
        int fd = own_socket(process, 0, i), others;

        if (fd == -1 || (others = count_others(process, i)) == 0)
            continue;
        shared = true;
        if (!process->handover.first[i] || others == -1 ||
            !reuseport_steer(fd, (unsigned)process->worker_count, (unsigned)others))
            ignore_new(process, i);
    }
    return shared;
}

/* From here on sockets are closed one after the other, places change, and the hash may choose any:
 * what comes to ours all the same has to come again. */
void handover_end(struct process *process)
{
    for (int i = 0; i != 2; ++i) {
        if (own_socket(process, 0, i) != -1)
            ignore_new(process, i);
    }
}
