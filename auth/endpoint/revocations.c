/* GET /revocations. Functions are in the order in which a request reaches them.
 *
 * A cursor is `identity-next`, or `identity-next-xid-jti` in the middle of several pages. `next` is
 * the transaction to go on from at the end: the oldest that had not ended when the first page was
 * read. One that commits during the later pages may have a lower number than their rows, so it is
 * read again next time. So entries may be repeated, and none is missed.
 */
#include "auth/endpoint/revocations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "auth/endpoint/authenticate.h"
#include "auth/endpoint/oauth_reply.h"
#include "auth/token/revoked_tokens.h"
#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/form.h"
#include "common/http/reply.h"
#include "common/http/request.h"

#define NUMBER_MAX   20 /* digits of a transaction id */
#define IDENTITY_MAX 64
#define PAGES_MAX    4 /* of a client, at once */

static const char zero_jti[] = "00000000-0000-0000-0000-000000000000";

struct cursor {
    char identity[IDENTITY_MAX + 1]; /* empty: from the start */
    char next[NUMBER_MAX + 1];       /* empty: that of the page */
    char xid[NUMBER_MAX + 1];
    char jti[UUID_TEXT_LENGTH + 1];
};

struct revocations_request {
    h2o_req_t *req;
    struct worker *worker;
    struct authentication authentication;
    struct client *client; /* referenced; NULL: not authenticated */
    struct cursor cursor;
    struct page *page; /* being read; NULL: none */
};

/* Outlives the request: the feed has it until it is read. */
struct page {
    struct feed_page feed;
    struct revocations_request *request; /* NULL: gone */
};

static void on_client(struct authentication *authentication, struct client *client);
static void on_page(struct feed_job *job);
static void on_gone(void *data);

/* Takes what stands before the next hyphen, which must not be the end, or all. False when it is
 * empty, too long or has other characters. */
static bool take(struct slice *rest, const char *allowed, char *to, size_t max)
{
    const char *hyphen = memchr(rest->bytes, '-', rest->length);
    size_t length = hyphen != NULL ? (size_t)(hyphen - rest->bytes) : rest->length;

    if (length == 0 || length > max || length + 1 == rest->length)
        return false;
    memcpy(to, rest->bytes, length);
    to[length] = '\0';
    length += hyphen != NULL;
    *rest = (struct slice){rest->bytes + length, rest->length - length};
    return strspn(to, allowed) == strlen(to);
}

/* A transaction id has 64 bits. */
static bool take_number(struct slice *rest, char to[NUMBER_MAX + 1])
{
    if (!take(rest, "0123456789", to, NUMBER_MAX))
        return false;
    errno = 0;
    (void)!strtoull(to, NULL, 10);
    return errno == 0;
}

static bool read_cursor(struct slice text, struct cursor *cursor)
{
    struct uuid jti;

    memcpy(cursor->jti, zero_jti, sizeof(zero_jti));
    memcpy(cursor->xid, "0", sizeof("0"));
    if (text.length == 0)
        return true;
    if (!take(&text, "0123456789ABCDEF.", cursor->identity, IDENTITY_MAX) ||
        !take_number(&text, cursor->next))
        return false;
    memcpy(cursor->xid, cursor->next, sizeof(cursor->xid));
    if (text.length == 0)
        return true;
    if (!take_number(&text, cursor->xid) || !uuid_parse(text, &jti))
        return false;
    memcpy(cursor->jti, text.bytes, UUID_TEXT_LENGTH);
    return true;
}

/* The query string is a form too. `since` points into a copy in the request's pool. */
static bool read_query(h2o_req_t *req, struct slice *since)
{
    static const char *const repeatable[] = {NULL};
    struct slice path = {req->path.base, req->path.len};
    struct form form = {.count = 0};
    struct slice copy;

    *since = SLICE("");
    if (req->query_at == SIZE_MAX)
        return true;
    copy = request_keep(req, (struct slice){path.bytes + req->query_at + 1,
                                            path.length - req->query_at - 1});
    if (form_parse((char *)copy.bytes, copy.length, repeatable, &form) != FORM_OK)
        return false;
    for (size_t i = 0; i != form.count; ++i) {
        if (!slice_equal(form.parameters[i].name, SLICE("since")))
            return false;
    }
    *since = form_get(&form, SLICE("since"));
    return true;
}

void revocations_handle(h2o_req_t *req)
{
    struct revocations_request *request =
        h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_gone);
    struct form none = {.count = 0};
    struct slice since;

    *request = (struct revocations_request){.req = req,
                                            .worker = worker_of(req),
                                            .authentication.on_client = on_client};
    if (!read_query(req, &since) || !read_cursor(since, &request->cursor)) {
        oauth_reply_error(req, OAUTH_INVALID_REQUEST,
                          "The only parameter is since: send the cursor of an earlier answer, as "
                          "it was, or none to get all.");
        return;
    }
    authenticate_begin(&request->authentication, req, &none);
}

static bool read_page(struct revocations_request *request)
{
    struct page *page = calloc(1, sizeof(*page));

    if (page == NULL)
        return false;
    page->feed.job.on_done = on_page;
    memcpy(page->feed.xid, request->cursor.xid, sizeof(request->cursor.xid));
    memcpy(page->feed.jti, request->cursor.jti, sizeof(request->cursor.jti));
    page->request = request;
    if (!feed_port_read(&request->worker->feed, &page->feed)) {
        free(page);
        return false;
    }
    ++request->client->pages;
    request->page = page;
    return true;
}

static const char away[] = "The revoked tokens cannot be read at the moment; try again later.";

static void on_client(struct authentication *authentication, struct client *client)
{
    struct revocations_request *request =
        H2O_STRUCT_FROM_MEMBER(struct revocations_request, authentication, authentication);
    struct worker *worker = request->worker;

    client_keep(client);
    request->client = client;
    if (client->introspect.length == 0)
        oauth_reply_error_with_status(
            request->req, OAUTH_UNAUTHORIZED_CLIENT, 403,
            "Only clients that may introspect get this: `jotd client update ID --introspect URI`.");
    else if (client->pages == PAGES_MAX ||
             !client_rate_take(&worker->process->introspections, client->id, clock_monotonic_ms()))
        oauth_reply_too_often(request->req);
    else if (!read_page(request))
        oauth_reply_try_later(request->req, away);
}

/* Columns of the result. */
enum { IDENTITY, XMIN, COUNT, ENTRIES, LAST };

static bool is_sound(const PGresult *result)
{
    return PQntuples(result) == 1 && PQnfields(result) == LAST + 1 &&
           strlen(PQgetvalue(result, 0, IDENTITY)) <= IDENTITY_MAX &&
           strlen(PQgetvalue(result, 0, XMIN)) <= NUMBER_MAX;
}

static void reply_page(struct revocations_request *request, const PGresult *result)
{
    h2o_req_t *req = request->req;
    struct buffer *body = &request->worker->scratch;
    bool more = strtoll(PQgetvalue(result, 0, COUNT), NULL, 10) == REVOKED_TOKENS_PAGE;
    bool amid = strcmp(request->cursor.jti, zero_jti) != 0;
    const char *next = amid ? request->cursor.next : PQgetvalue(result, 0, XMIN);

    buffer_clear(body);
    buffer_printf(body, "{\"cursor\":\"%s-%s%s%s\",\"revoked\":[", PQgetvalue(result, 0, IDENTITY),
                  next, more ? "-" : "", more ? PQgetvalue(result, 0, LAST) : "");
    buffer_append_text(body, PQgetvalue(result, 0, ENTRIES));
    buffer_append_text(body, more ? "],\"more\":true}" : "],\"more\":false}");
    reply_no_store(req);
    reply_json(req, 200, request_keep(req, (struct slice){body->bytes, body->size}));
}

static void reply_result(struct revocations_request *request, const PGresult *result)
{
    const char *identity = request->cursor.identity;

    if (result == NULL || !is_sound(result))
        oauth_reply_try_later(request->req, away);
    else if (*identity != '\0' && strcmp(identity, PQgetvalue(result, 0, IDENTITY)) != 0)
        oauth_reply_error_with_status(
            request->req, OAUTH_INVALID_REQUEST, 410,
            "The cursor is of another database, or of before a restore: begin again without one, "
            "and keep what you have until it expires.");
    else
        reply_page(request, result);
}

static void on_page(struct feed_job *job)
{
    struct page *page = H2O_STRUCT_FROM_MEMBER(struct page, feed.job, job);

    if (page->request != NULL) {
        --page->request->client->pages;
        page->request->page = NULL;
        reply_result(page->request, page->feed.result);
    }
    PQclear(page->feed.result);
    free(page);
}

static void on_gone(void *data)
{
    struct revocations_request *request = data;

    authenticate_stop(&request->authentication);
    if (request->page != NULL) {
        --request->client->pages;
        request->page->request = NULL;
    }
    if (request->client != NULL)
        client_release(request->client);
}
