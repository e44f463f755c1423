/* libh2o answering any POST with 600 fixed bytes, set up as in jotd: apart from the signature, the
 * lower bound for a token server with this library.
 *
 *     bench_h2o PORT
 *
 * Serves on 127.0.0.1 in one thread until it is killed.
 */
#include <h2o.h>
#include <h2o/http1.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BODY_LENGTH 600
#define MAX_WAIT_MS 100

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accept_context = {.ctx = &context};
static char body[BODY_LENGTH];

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static h2o_generator_t generator;
    h2o_iovec_t answer = {body, sizeof(body)};

    (void)handler;
    req->res.status = 200;
    req->res.reason = "OK";
    req->res.content_length = sizeof(body);
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("application/json"));
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CACHE_CONTROL, NULL,
                   H2O_STRLIT("no-store"));
    h2o_start_response(req, &generator);
    h2o_send(req, &answer, 1, H2O_SEND_STATE_FINAL);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    h2o_socket_t *socket;
    struct timeval now;

    while (error == NULL && (socket = h2o_evloop_socket_accept(listener)) != NULL) {
        gettimeofday(&now, NULL);
        h2o_http1_accept(&accept_context, socket, now);
    }
}

static int listen_at(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) == -1 ||
        listen(fd, SOMAXCONN) == -1) {
        perror("bench_h2o: cannot listen");
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    h2o_pathconf_t *path;
    h2o_socket_t *listener;

    if (argc != 2) {
        fprintf(stderr, "usage: bench_h2o PORT\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    memset(body, 'x', sizeof(body));
    h2o_config_init(&config);
    config.server_name = (h2o_iovec_t){NULL, 0};
    config.http1.upgrade_to_http2 = 0;
    path = h2o_config_register_path(
        h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535), "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_context_init(&context, h2o_evloop_create(), &config);
    accept_context.hosts = config.hosts;
    listener =
        h2o_evloop_socket_create(context.loop, listen_at(argv[1]), H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    for (;;)
        h2o_evloop_run(context.loop, MAX_WAIT_MS);
}
