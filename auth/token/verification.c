#include "auth/token/verification.h"

#include <h2o.h>
#include <utlist.h>

#include "common/clock.h"
#include "common/lag.h"

void verification_open(struct verification *verification, const char *issuer,
                       struct keyring_view *keys, struct verification_counters *counters)
{
    *verification = (struct verification){.issuer = issuer,
                                          .keys = keys,
                                          .counters = counters,
                                          .remembered.capacity = VERIFICATION_REMEMBERED};
}

static struct access_token *token_of(struct lru_entry *entry)
{
    return H2O_STRUCT_FROM_MEMBER(struct access_token, entry, entry);
}

static void forget(struct verification *verification, struct lru_entry *entry)
{
    lru_remove(&verification->remembered, entry);
    access_token_verify_release(token_of(entry));
}

void verification_close(struct verification *verification)
{
    while (lru_oldest(&verification->remembered) != NULL)
        forget(verification, lru_oldest(&verification->remembered));
    buffer_dispose(&verification->scratch);
}

static struct slice key_of(const struct secret_digest *digest)
{
    return (struct slice){(const char *)digest->bytes, sizeof(digest->bytes)};
}

/* The token, if its signature was verified before and both it and its key are still good. */
static struct access_token *recall(struct verification *verification,
                                   const struct secret_digest *digest, int64_t now)
{
    struct lru_entry *entry = lru_find(&verification->remembered, key_of(digest));
    struct access_token *token = entry != NULL ? token_of(entry) : NULL;

    if (token == NULL)
        return NULL;
    if (token->expires_at > now && keyring_view_find(verification->keys, token->kid, now) != NULL)
        return token;
    forget(verification, entry);
    return NULL;
}

/* Takes over the reference. */
static void remember(struct verification *verification, const struct secret_digest *digest,
                     struct access_token *token)
{
    struct lru_entry *evicted;

    token->digest = *digest;
    token->entry.key = key_of(&token->digest);
    if (lru_peek(&verification->remembered, token->entry.key) != NULL) {
        access_token_verify_release(token); /* another request was faster */
        return;
    }
    if ((evicted = lru_add(&verification->remembered, &token->entry)) != NULL)
        access_token_verify_release(token_of(evicted));
}

void verification_begin(struct verification *verification, struct verification_request *request)
{
    int64_t now = clock_unix_ms() / 1000;
    struct access_token *token;
    enum access_token_state state;

    request->line = NULL;
    secret_digest(request->text, &request->digest);
    if ((token = recall(verification, &request->digest, now)) != NULL) {
        counter_add(&verification->counters->remembered, 1);
        request->on_verified(request, ACCESS_TOKEN_VALID, token);
        return;
    }
    state = access_token_verify_claims(request->text, verification->keys, verification->issuer, now,
                                       &verification->scratch, &request->token);
    if (state != ACCESS_TOKEN_VALID) {
        request->on_verified(request, state, NULL);
        return;
    }
    DL_APPEND(verification->line, request);
    request->line = verification;
}

void verification_leave(struct verification_request *request)
{
    if (request->line == NULL)
        return;
    DL_DELETE(request->line->line, request);
    request->line = NULL;
    access_token_verify_release(request->token);
}

static void verify_one(struct verification *verification, struct verification_request *request)
{
    struct access_token *token = request->token;

    access_token_verify_keep(token);
    verification_leave(request);
    counter_add(&verification->counters->verified, 1);
    if (access_token_verify_signature(request->text, token, verification->keys,
                                      clock_unix_ms() / 1000, &verification->scratch)) {
        access_token_verify_keep(token);
        remember(verification, &request->digest, token);
        request->on_verified(request, ACCESS_TOKEN_VALID, token);
    } else {
        request->on_verified(request, ACCESS_TOKEN_BAD_SIGNATURE, NULL);
    }
    access_token_verify_release(token);
}

bool verification_run(struct verification *verification)
{
    uint64_t until_us;

    if (verification->line == NULL)
        return false;
    until_us = lag_work_until_us();
    do
        verify_one(verification, verification->line);
    while (verification->line != NULL && clock_monotonic_us() < until_us);
    return verification->line != NULL;
}

void verification_refuse_all(struct verification *verification)
{
    while (verification->line != NULL) {
        struct verification_request *request = verification->line;

        verification_leave(request);
        request->on_verified(request, ACCESS_TOKEN_UNDECIDED, NULL);
    }
}
