/* Discovery documents: see discovery.h. */
#include "auth/endpoint/discovery.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/reply.h"

/* Verifiers ask again after so long; `jotd key rotate` leads by three times that. */
#define CACHE_CONTROL SLICE("public, max-age=300")

/* OpenID Connect Discovery 1.0 3: clients that look there take RS256 for granted otherwise. */
static json_t *published_algs(const struct keyring_view *keys)
{
    int64_t now = clock_unix_ms() / 1000;
    json_t *names = json_array();

    for (int alg = 0; alg != KEY_ALG_COUNT; ++alg) {
        if (keys->set != NULL && key_set_publishes(keys->set, (enum key_alg)alg, now))
            json_array_append_new(names, json_string(key_alg_name((enum key_alg)alg)));
    }
    return names;
}

static json_t *metadata(const char *issuer, const struct keyring_view *keys)
{
    size_t length = strlen(issuer);

    while (length != 0 && issuer[length - 1] == '/')
        --length;
    return json_pack("{s:s, s:o, s:o, s:[s], s:[s,s], s:[], s:[s], s:o}", "issuer", issuer,
                     "token_endpoint", json_sprintf("%.*s/token", (int)length, issuer), "jwks_uri",
                     json_sprintf("%.*s/.well-known/jwks.json", (int)length, issuer),
                     "grant_types_supported", "client_credentials",
                     "token_endpoint_auth_methods_supported", "client_secret_basic",
                     "client_secret_post", "response_types_supported", "subject_types_supported",
                     "public", "id_token_signing_alg_values_supported", published_algs(keys));
}

void discovery_handle_metadata(h2o_req_t *req)
{
    const struct worker *worker = worker_of(req);
    json_t *document = metadata(worker->process->settings.issuer, &worker->keys);
    char *text = json_dumps(document, JSON_COMPACT);
    struct slice body = {h2o_strdup(&req->pool, text, SIZE_MAX).base, strlen(text)};

    free(text);
    json_decref(document);
    REPLY_HEADER(req, "cache-control", "Cache-Control", CACHE_CONTROL);
    reply_json(req, 200, body);
}

/* RFC 9110 13.1.2: a list of entity tags, or *; compared weakly. */
static bool has_current(const h2o_req_t *req, const char *etag)
{
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_IF_NONE_MATCH, -1);
    const h2o_iovec_t *value;

    if (at == -1)
        return false;
    value = &req->headers.entries[at].value;
    return h2o_memis(value->base, value->len, H2O_STRLIT("*")) ||
           memmem(value->base, value->len, etag, strlen(etag)) != NULL;
}

void discovery_handle_jwks(h2o_req_t *req)
{
    const struct keyring_view *keys = &worker_of(req)->keys;
    struct slice text = {keys->jwks, keys->jwks_length}, etag;

    if (keys->jwks == NULL) {
        REPLY_HEADER(req, "retry-after", "Retry-After", SLICE("1"));
        reply_error(req, 503, "temporarily_unavailable", "The keys cannot be read at the moment.");
        return;
    }
    /* The view may change before the answer leaves: copies. */
    etag.bytes = h2o_strdup(&req->pool, keys->etag, SIZE_MAX).base;
    etag.length = strlen(etag.bytes);
    REPLY_HEADER(req, "cache-control", "Cache-Control", CACHE_CONTROL);
    REPLY_HEADER(req, "etag", "ETag", etag);
    if (has_current(req, keys->etag)) {
        reply(req, 304, SLICE(""), SLICE(""));
        return;
    }
    text.bytes = h2o_strdup(&req->pool, text.bytes, text.length).base;
    reply_json(req, 200, text);
}
