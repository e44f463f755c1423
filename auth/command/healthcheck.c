/* `jotd healthcheck`: checks the server that this environment configures, for containers without
 * curl.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/command/commands.h"
#include "auth/settings.h"
#include "common/address.h"
#include "common/clock.h"

#define BOUND_MS 3000 /* in total */

struct values {
    bool ready;
};

static const struct cli_option options[] = {
    {.name = "ready",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, ready),
     .help = "ask /ready: whether it can issue tokens"},
    {0},
};

/* A server that listens on all addresses is asked on loopback. */
static void replace_wildcard(struct address *address)
{
    struct sockaddr_in *v4 = &address->socket.v4;
    struct sockaddr_in6 *v6 = &address->socket.v6;

    if (v4->sin_family == AF_INET && v4->sin_addr.s_addr == htonl(INADDR_ANY))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (v6->sin6_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr))
        v6->sin6_addr = in6addr_loopback;
}

/* Waits for `events`; false at the deadline. */
static bool wait_for(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd polled = {.fd = fd, .events = events};
    uint64_t now_ms = clock_monotonic_ms();

    if (now_ms < deadline_ms && poll(&polled, 1, (int)(deadline_ms - now_ms)) == 1)
        return true;
    errno = ETIMEDOUT;
    return false;
}

static bool connect_until(int fd, const struct address *address, uint64_t deadline_ms)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (connect(fd, &address->socket.any, address->length) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, deadline_ms))
        return false;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error == 0)
        return error == 0;
    errno = error;
    return false;
}

/* Returns the HTTP status, or 0 with errno set. */
static int get(int fd, const char *path, uint64_t deadline_ms)
{
    char request[128], answer[] = "HTTP/1.1 200";
    size_t received = 0;
    int length = snprintf(request, sizeof(request),
                          "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);

    /* A request this short always fits in the buffer of a new connection. */
    if (send(fd, request, (size_t)length, MSG_NOSIGNAL) != length)
        return 0;
    while (received != sizeof(answer) - 1) {
        ssize_t count;

        if (!wait_for(fd, POLLIN, deadline_ms))
            return 0;
        count = recv(fd, answer + received, sizeof(answer) - 1 - received, 0);
        if (count <= 0) {
            errno = count == 0 ? ECONNRESET : errno;
            return 0;
        }
        received += (size_t)count;
    }
    errno = EPROTO; /* if no status follows */
    return strncmp(answer, "HTTP/1.", 7) == 0 ? atoi(answer + 9) : 0;
}

static bool ask(const char *listen, const char *path, struct failure *failure)
{
    uint64_t deadline_ms = clock_monotonic_ms() + BOUND_MS;
    struct address address;
    int fd, status = 0;

    if (!address_parse(listen, &address))
        return failure_set(failure, "cannot read the address %s", listen);
    replace_wildcard(&address);
    fd = socket(address.socket.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect_until(fd, &address, deadline_ms))
        status = get(fd, path, deadline_ms);
    if (status == 0)
        failure_set(failure, "no answer from %s at %s: %s", path, listen, strerror(errno));
    else if (status != 200)
        failure_set(failure, "%s at %s answers %d", path, listen, status);
    if (fd >= 0)
        close(fd);
    return status == 200;
}

static int run(const struct cli_command *command, const void *given)
{
    const struct values *values = given;
    struct settings settings;
    struct failure failure;
    bool healthy = false;

    (void)command;
    if (settings_load(&settings, SETTINGS_NEED_NOTHING, &failure))
        healthy = ask(settings.metrics_listen != NULL ? settings.metrics_listen : settings.listen,
                      values->ready ? "/ready" : "/health", &failure);
    settings_dispose(&settings);
    return healthy ? CLI_DONE : cli_fail(&failure);
}

const struct cli_command command_healthcheck = {
    .path = "jotd healthcheck",
    .summary = "ask a running server whether it is alive",
    .help = "Asks /health at JOTD_METRICS_LISTEN or JOTD_LISTEN. Exits 0 if the answer is 200 "
            "and\n"
            "arrives within 3 seconds, otherwise 1.",
    .options = options,
    .values_size = sizeof(struct values),
    .run = run,
};
