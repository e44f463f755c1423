#include "common/resolve.h"

#include <stdlib.h>
#include <string.h>

#define POLL_MS 5

/* A gaicb and what it points to, in one allocation, since glibc may use it after a cancel. */
struct request {
    struct gaicb gaicb;
    struct addrinfo hints;
    char host[256];
    char port[16];
};

static void finish(struct resolve *resolve, int error)
{
    struct gaicb *request = resolve->request;
    struct addrinfo *addresses = error == 0 ? request->ar_result : NULL;

    resolve->request = NULL;
    resolve->on_done(resolve, addresses, error == 0 ? NULL : gai_strerror(error));
    if (addresses != NULL)
        freeaddrinfo(addresses);
    free(request);
}

static void on_poll(struct timer *timer)
{
    struct resolve *resolve = H2O_STRUCT_FROM_MEMBER(struct resolve, timer, timer);
    int error = resolve->queue_error != 0 ? resolve->queue_error : gai_error(resolve->request);

    if (error == EAI_INPROGRESS)
        timer_start(resolve->timers, &resolve->timer, POLL_MS);
    else
        finish(resolve, error);
}

void resolve_start(struct resolve *resolve, struct timers *timers, const char *host,
                   const char *port)
{
    struct request *request = h2o_mem_alloc(sizeof(*request));
    struct gaicb *list[1] = {&request->gaicb};

    memset(request, 0, sizeof(*request));
    strncpy(request->host, host, sizeof(request->host) - 1);
    strncpy(request->port, port, sizeof(request->port) - 1);
    request->hints.ai_socktype = SOCK_STREAM;
    request->gaicb.ar_name = request->host;
    request->gaicb.ar_service = request->port;
    request->gaicb.ar_request = &request->hints;
    resolve->request = &request->gaicb;
    resolve->timers = timers;
    resolve->timer.on_time = on_poll;
    resolve->queue_error = getaddrinfo_a(GAI_NOWAIT, list, 1, NULL);
    timer_start(timers, &resolve->timer, 1);
}

void resolve_cancel(struct resolve *resolve)
{
    int error;

    if (resolve->request == NULL)
        return;
    timer_stop(resolve->timers, &resolve->timer);
    error = resolve->queue_error != 0 ? resolve->queue_error : gai_error(resolve->request);
    if (error == EAI_INPROGRESS && gai_cancel(resolve->request) == EAI_CANCELED)
        error = EAI_CANCELED;
    if (error == 0 && resolve->request->ar_result != NULL)
        freeaddrinfo(resolve->request->ar_result);
    /* glibc cannot cancel a request in progress and goes on writing to it, so it is leaked. */
    if (error != EAI_INPROGRESS)
        free(resolve->request);
    resolve->request = NULL;
}
