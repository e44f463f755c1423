/* common/http/reuseport: which of several sockets at one address gets new connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/reuseport.h"

#define ASKED 64

static struct sockaddr_in address;

/* Adds a socket to the group, or makes the first of a new group. */
static int listen_again(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    socklen_t length = sizeof(address);

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 2 * ASKED), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return fd;
}

static int first_of_group(void)
{
    address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return listen_again();
}

static void connect_many(void)
{
    for (int i = 0; i != ASKED; ++i) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);

        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        close(fd);
    }
}

static int accepted(int listener)
{
    int count = 0, fd;

    while ((fd = accept(listener, NULL, NULL)) != -1) {
        close(fd);
        ++count;
    }
    return count;
}

static void counts_those_at_the_address(void **state)
{
    int sockets[3], elsewhere;

    (void)state;
    elsewhere = first_of_group();
    for (int i = 0; i != 3; ++i) {
        sockets[i] = i == 0 ? first_of_group() : listen_again();
        assert_int_equal(reuseport_count(sockets[0]), i + 1);
    }
    close(sockets[1]);
    assert_int_equal(reuseport_count(sockets[2]), 2);
    close(sockets[0]);
    close(sockets[2]);
    close(elsewhere);
}

static void does_not_count_what_is_not_tcp(void **state)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(reuseport_count(fd), -1);
    close(fd);
}

static void steers_to_the_later_ones(void **state)
{
    int sockets[4], later;

    (void)state;
    for (int i = 0; i != 4; ++i)
        sockets[i] = i == 0 ? first_of_group() : listen_again();
    assert_true(reuseport_steer(sockets[0], 2, 2));
    connect_many();
    assert_int_equal(accepted(sockets[0]) + accepted(sockets[1]), 0);
    later = accepted(sockets[2]);
    assert_in_range(later, 1, ASKED - 1);
    assert_int_equal(later + accepted(sockets[3]), ASKED);

    reuseport_unsteer(sockets[3]);
    connect_many();
    assert_true(accepted(sockets[0]) + accepted(sockets[1]) > 0);
    for (int i = 0; i != 4; ++i)
        close(sockets[i]);
}

static void lets_new_connections_go_unanswered(void **state)
{
    int listener = first_of_group();
    int before = socket(AF_INET, SOCK_STREAM, 0), after;
    char byte;

    (void)state;
    assert_int_equal(connect(before, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_true(reuseport_ignore_new(listener));
    after = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    assert_int_equal(connect(after, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, EINPROGRESS);
    /* Existing connections continue. */
    assert_int_equal(write(before, "x", 1), 1);
    assert_int_equal(recv(accept(listener, NULL, NULL), &byte, 1, 0), 1);
    assert_int_equal(accepted(listener), 0);
    close(before);
    close(after);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_those_at_the_address),
        cmocka_unit_test(does_not_count_what_is_not_tcp),
        cmocka_unit_test(steers_to_the_later_ones),
        cmocka_unit_test(lets_new_connections_go_unanswered),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
