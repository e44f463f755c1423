#include "common/http/peer.h"

#include "common/http/http.h"

#define HEADERS_MAX 16 /* X-Forwarded-For lines of a request that are read: the last ones */

/* Takes the last item off a comma-separated list. */
static struct slice take_last(struct slice *list)
{
    size_t start = list->length;
    struct slice item;

    while (start != 0 && list->bytes[start - 1] != ',')
        --start;
    item = (struct slice){list->bytes + start, list->length - start};
    list->length = start != 0 ? start - 1 : 0;
    while (item.length != 0 && (item.bytes[0] == ' ' || item.bytes[0] == '\t'))
        item = (struct slice){item.bytes + 1, item.length - 1};
    while (item.length != 0 &&
           (item.bytes[item.length - 1] == ' ' || item.bytes[item.length - 1] == '\t'))
        --item.length;
    return item;
}

/* Walks back over one line while the hops are trusted. True when the peer is found: a hop that is
 * not trusted, or the last one before something unreadable. */
static bool go_back(const struct network_list *trusted, struct slice line,
                    struct network_address *peer)
{
    while (line.length != 0) {
        struct network_address hop;

        if (!network_address_parse(take_last(&line), &hop) || network_address_is_local(&hop))
            return true;
        *peer = hop;
        if (!network_list_has(trusted, peer))
            return true;
    }
    return false;
}

static struct network_address other_end(const h2o_req_t *req)
{
    struct sockaddr_storage socket = {.ss_family = AF_UNIX};

    req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&socket);
    return network_address_of((const struct sockaddr *)&socket);
}

struct network_address peer_of(const h2o_req_t *req)
{
    const struct network_list *trusted = http_loop_of(req)->http->trusted_proxies;
    struct network_address peer = other_end(req);
    struct slice lines[HEADERS_MAX];
    size_t count = 0;

    if (!network_list_has(trusted, &peer))
        return peer;
    for (ssize_t at = -1;
         (at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-forwarded-for"), at)) != -1;)
        lines[count++ % HEADERS_MAX] =
            (struct slice){req->headers.entries[at].value.base, req->headers.entries[at].value.len};
    for (size_t i = 0; i != count && i != HEADERS_MAX; ++i) {
        if (go_back(trusted, lines[(count - 1 - i) % HEADERS_MAX], &peer))
            break;
    }
    return peer;
}

static bool is_of_a_proxy(const h2o_header_t *header)
{
    struct slice name = {header->name->base, header->name->len};
    struct slice prefix = SLICE("x-forwarded-");

    return slice_equal(name, SLICE("forwarded")) || slice_equal(name, SLICE("via")) ||
           (name.length >= prefix.length &&
            slice_equal((struct slice){name.bytes, prefix.length}, prefix));
}

bool peer_is_this_host(const h2o_req_t *req)
{
    struct network_address peer = other_end(req);

    for (size_t i = 0; i != req->headers.size; ++i) {
        if (is_of_a_proxy(req->headers.entries + i))
            return false;
    }
    return network_address_is_loopback(&peer);
}
