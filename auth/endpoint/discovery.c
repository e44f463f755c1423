#include "auth/endpoint/discovery.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/worker.h"
#include "common/clock.h"
#include "common/http/etag.h"
#include "common/http/reply.h"
#include "common/http/request.h"

/* How long verifiers may cache; the default lead of `jotd key rotate` is three times that. */
#define CACHE_CONTROL SLICE("public, max-age=300")

/* OpenID Connect Discovery 1.0 3: clients that read this would otherwise assume RS256. */
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

static json_t *auth_methods(void)
{
    return json_pack("[s, s]", "client_secret_basic", "client_secret_post");
}

static json_t *metadata(const char *issuer, const struct keyring_view *keys)
{
    struct slice url = slice_trim_end(slice_of(issuer), '/');
    int length = (int)url.length;

    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:[s], s:o, s:o, s:o, s:[], s:[s], s:o}", "issuer",
                     issuer, "token_endpoint", json_sprintf("%.*s/token", length, issuer),
                     "introspection_endpoint", json_sprintf("%.*s/introspect", length, issuer),
                     "revocation_endpoint", json_sprintf("%.*s/revoke", length, issuer), "jwks_uri",
                     json_sprintf("%.*s/.well-known/jwks.json", length, issuer),
                     "grant_types_supported", "client_credentials",
                     "token_endpoint_auth_methods_supported", auth_methods(),
                     "introspection_endpoint_auth_methods_supported", auth_methods(),
                     "revocation_endpoint_auth_methods_supported", auth_methods(),
                     "response_types_supported", "subject_types_supported", "public",
                     "id_token_signing_alg_values_supported", published_algs(keys));
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

/* Answers 304 if the client already has it. Both texts must live as long as the request. */
static void reply_document(h2o_req_t *req, struct slice text, const char *etag)
{
    ssize_t at = h2o_find_header(&req->headers, H2O_TOKEN_IF_NONE_MATCH, -1);
    h2o_iovec_t listed = at != -1 ? req->headers.entries[at].value : h2o_iovec_init(NULL, 0);

    REPLY_HEADER(req, "cache-control", "Cache-Control", CACHE_CONTROL);
    REPLY_HEADER(req, "etag", "ETag", slice_of(etag));
    if (etag_is_listed((struct slice){listed.base, listed.len}, etag))
        reply(req, 304, SLICE(""), SLICE(""));
    else
        reply_json(req, 200, text);
}

/* Replies with copies: the view may change before the response leaves. */
void discovery_handle_jwks(h2o_req_t *req)
{
    const struct keyring_view *keys = &worker_of(req)->keys;

    if (keys->jwks == NULL) {
        REPLY_HEADER(req, "retry-after", "Retry-After", SLICE("1"));
        reply_error(req, 503, "temporarily_unavailable", "The keys cannot be read at the moment.");
        return;
    }
    reply_document(req, request_keep(req, (struct slice){keys->jwks, keys->jwks_length}),
                   h2o_strdup(&req->pool, keys->etag, SIZE_MAX).base);
}

void discovery_handle_openapi(h2o_req_t *req)
{
    const struct openapi *openapi = &worker_of(req)->process->openapi;

    reply_document(req, (struct slice){openapi->text, openapi->length}, openapi->etag);
}
