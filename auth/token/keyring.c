#include "auth/token/keyring.h"

#include "auth/token/key_directory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"

void keyring_open(struct keyring *ring, const char *directory)
{
    *ring = (struct keyring){.directory = directory};
    pthread_mutex_init(&ring->lock, NULL);
    keyring_refresh(ring, true);
}

void keyring_close(struct keyring *ring)
{
    key_set_release(ring->set);
    pthread_mutex_destroy(&ring->lock);
}

/* Logs when a different key signs, or none does. */
static void announce_signing(struct keyring *ring)
{
    const struct signing_key *key = key_set_signing(ring->set, clock_unix_ms() / 1000);
    const char *kid = key != NULL ? key->kid : "none";

    if (strcmp(kid, ring->signing) == 0)
        return;
    snprintf(ring->signing, sizeof(ring->signing), "%s", kid);
    if (key != NULL)
        log_info("keys.signing", log_str("kid", kid), log_str("alg", key_alg_name(key->alg)));
    else
        log_warn("keys.none", log_str("directory", ring->directory),
                 log_str("reason", "no token can be signed; make a key with `jotd key create`"));
}

void keyring_refresh(struct keyring *ring, bool force)
{
    struct key_set *old = ring->set, *set;
    struct failure failure;
    uint64_t fingerprint = key_directory_fingerprint(ring->directory);

    if (old != NULL)
        announce_signing(ring);
    if (!force && fingerprint == 0 && ring->is_unreadable)
        return; /* already logged */
    ring->is_unreadable = fingerprint == 0;
    if (!force && old != NULL && fingerprint == old->fingerprint)
        return;
    if ((set = key_directory_load(ring->directory, &failure)) == NULL) {
        log_error("keys.unreadable", log_str("directory", ring->directory),
                  log_str("reason", failure.reason));
        return;
    }
    pthread_mutex_lock(&ring->lock);
    ring->set = set;
    pthread_mutex_unlock(&ring->lock);
    atomic_fetch_add(&ring->version, 1);
    key_set_release(old);
    log_info("keys.loaded", log_str("directory", ring->directory),
             log_int("keys", (int64_t)set->count));
    announce_signing(ring);
}

static void adopt(struct keyring_view *view, struct keyring *ring, uint64_t version)
{
    pthread_mutex_lock(&ring->lock);
    key_set_release(view->set);
    view->set = ring->set != NULL ? key_set_keep(ring->set) : NULL;
    pthread_mutex_unlock(&ring->lock);
    view->version = version;
}

static void publish(struct keyring_view *view, int64_t now)
{
    free(view->jwks);
    view->jwks = key_set_jwks(view->set, now);
    view->jwks_length = strlen(view->jwks);
    etag_make((struct slice){view->jwks, view->jwks_length}, view->etag);
}

static void choose_signer(struct keyring_view *view, int64_t now)
{
    const struct signing_key *key = key_set_signing(view->set, now);
    struct access_token_signer *signer = &view->signer;

    if (key == NULL) {
        signer_close(&signer->signer);
        return;
    }
    if (access_token_signer_is_set(signer) && strcmp(signer->kid, key->kid) == 0) {
        signer->retire_at = key->retire_at;
        return;
    }
    if (!access_token_signer_set(signer, key))
        log_error("keys.unusable", log_str("kid", key->kid));
}

static void narrow(struct keyring_view *view, int64_t at, int64_t now)
{
    if (at <= now && at > view->holds_from)
        view->holds_from = at;
    if (at > now && at < view->changes_at)
        view->changes_at = at;
}

/* Finds the activate and retire times around `now`. The earlier one matters if the clock is set
 * back. */
static void find_changes(struct keyring_view *view, int64_t now)
{
    view->holds_from = INT64_MIN;
    view->changes_at = INT64_MAX;
    for (size_t i = 0; view->set != NULL && i != view->set->count; ++i) {
        narrow(view, view->set->keys[i].activate_at, now);
        narrow(view, view->set->keys[i].retire_at, now);
    }
}

void keyring_view_refresh(struct keyring_view *view, struct keyring *ring, int64_t now)
{
    uint64_t version = atomic_load_explicit(&ring->version, memory_order_acquire);

    if (version == view->version && now >= view->holds_from && now < view->changes_at)
        return;
    if (version != view->version)
        adopt(view, ring, version);
    if (view->set != NULL) {
        publish(view, now);
        choose_signer(view, now);
    }
    find_changes(view, now);
}

void keyring_view_dispose(struct keyring_view *view)
{
    key_set_release(view->set);
    access_token_signer_dispose(&view->signer);
    free(view->jwks);
}
