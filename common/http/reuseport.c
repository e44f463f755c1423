#include "common/http/reuseport.h"

#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* The port and the bytes of the address, in the form of sock_diag(7). False when it is not an IP
 * address. */
static bool local_address(int fd, int *family, struct inet_diag_sockid *id)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
    socklen_t length = sizeof(address);

    if (getsockname(fd, &address.any, &length) != 0)
        return false;
    *family = address.any.sa_family;
    if (*family == AF_INET) {
        id->idiag_sport = address.v4.sin_port;
        memcpy(id->idiag_src, &address.v4.sin_addr, sizeof(address.v4.sin_addr));
    } else if (*family == AF_INET6) {
        id->idiag_sport = address.v6.sin6_port;
        memcpy(id->idiag_src, &address.v6.sin6_addr, sizeof(address.v6.sin6_addr));
    } else {
        return false;
    }
    return true;
}

static bool ask(int netlink, int family, const struct inet_diag_sockid *id)
{
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {
        .header = {.nlmsg_len = sizeof(request),
                   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
        .body = {.sdiag_family = (uint8_t)family,
                 .sdiag_protocol = IPPROTO_TCP,
                 .idiag_states = 1U << TCP_LISTEN,
                 .id = {.idiag_sport = id->idiag_sport}},
    };

    return send(netlink, &request, sizeof(request), 0) == (ssize_t)sizeof(request);
}

/* Counts the sockets in the answer that are at the address; -1 on error. */
static int count_answers(int netlink, const struct inet_diag_sockid *id)
{
    _Alignas(struct nlmsghdr) char answer[16384];
    int count = 0;

    for (;;) {
        ssize_t got = recv(netlink, answer, sizeof(answer), 0);
        unsigned left = got > 0 ? (unsigned)got : 0;

        if (got <= 0)
            return -1;
        for (const struct nlmsghdr *header = (const struct nlmsghdr *)answer;
             NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
            const struct inet_diag_msg *found = NLMSG_DATA(header);

            if (header->nlmsg_type == NLMSG_DONE)
                return count;
            if (header->nlmsg_type == NLMSG_ERROR)
                return -1;
            if (found->id.idiag_sport == id->idiag_sport &&
                memcmp(found->id.idiag_src, id->idiag_src, sizeof(id->idiag_src)) == 0)
                ++count;
        }
    }
}

int reuseport_count(int fd)
{
    struct inet_diag_sockid id = {0};
    struct timeval timeout = {.tv_sec = 1};
    int family, netlink, count = -1;

    if (!local_address(fd, &family, &id))
        return -1;
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (netlink == -1)
        return -1;
    setsockopt(netlink, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (ask(netlink, family, &id))
        count = count_answers(netlink, &id);
    close(netlink);
    return count;
}

bool reuseport_steer(int fd, unsigned first, unsigned count)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM)),
        BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count),
        BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, first),
        BPF_STMT(BPF_RET | BPF_A, 0),
    };
    struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) == 0;
}

void reuseport_unsteer(int fd)
{
    int unused = 0;

    setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &unused, sizeof(unused));
}

bool reuseport_ignore_new(int fd)
{
    /* The flags of the TCP header. Anything but a SYN belongs to a connection in progress. */
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TH_SYN | TH_ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TH_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = COUNT_OF(code), .filter = code};

    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0;
}
