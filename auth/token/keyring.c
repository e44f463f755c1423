#include "auth/token/keyring.h"

#include "auth/token/key_directory.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"
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

/* Closes the verifiers of keys that are no longer in the set. */
static void forget_verifiers(struct keyring_view *view)
{
    size_t kept = 0;

    for (size_t i = 0; i != view->verifier_count; ++i) {
        if (view->set != NULL && key_set_find(view->set, view->verifiers[i].kid) != NULL)
            view->verifiers[kept++] = view->verifiers[i];
        else
            verifier_close(&view->verifiers[i].verifier);
    }
    view->verifier_count = kept;
}

static void adopt(struct keyring_view *view, struct keyring *ring, uint64_t version)
{
    pthread_mutex_lock(&ring->lock);
    key_set_release(view->set);
    view->set = ring->set != NULL ? key_set_keep(ring->set) : NULL;
    pthread_mutex_unlock(&ring->lock);
    view->version = version;
    forget_verifiers(view);
}

static int compare_kids(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

static void digest_kids(const struct key_set *set, int64_t now, unsigned char *digest)
{
    const char *kids[KEY_SET_MAX];
    struct buffer text = {0};
    size_t count = 0;

    for (size_t i = 0; i != set->count; ++i) {
        if (key_set_state(set, set->keys + i, now) != KEY_RETIRED)
            kids[count++] = set->keys[i].kid;
    }
    qsort(kids, count, sizeof(*kids), compare_kids);
    for (size_t i = 0; i != count; ++i)
        buffer_printf(&text, "%s\n", kids[i]);
    SHA256((const unsigned char *)(count != 0 ? text.bytes : ""), text.size, digest);
    buffer_dispose(&text);
}

void keyring_digest(struct keyring *ring, int64_t now, char digest[KEYRING_DIGEST_SIZE])
{
    unsigned char bytes[SHA256_DIGEST_LENGTH];
    struct key_set *set;

    pthread_mutex_lock(&ring->lock);
    set = ring->set != NULL ? key_set_keep(ring->set) : NULL;
    pthread_mutex_unlock(&ring->lock);
    digest[0] = '\0';
    if (set == NULL)
        return;
    digest_kids(set, now, bytes);
    key_set_release(set);
    for (size_t i = 0; i != sizeof(bytes); ++i)
        snprintf(digest + 2 * i, 3, "%02x", bytes[i]);
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

const struct signing_key *keyring_view_find(const struct keyring_view *view, struct slice kid,
                                            int64_t now)
{
    char text[KEY_KID_LENGTH + 1] = "";
    const struct signing_key *key;

    if (view->set == NULL || kid.length != KEY_KID_LENGTH)
        return NULL;
    memcpy(text, kid.bytes, KEY_KID_LENGTH);
    key = key_set_find(view->set, text);
    return key != NULL && key_set_state(view->set, key, now) != KEY_RETIRED ? key : NULL;
}

struct verifier *keyring_view_verifier(struct keyring_view *view, const struct signing_key *key)
{
    struct keyring_verifier *opened = view->verifiers;

    for (; opened != view->verifiers + view->verifier_count; ++opened) {
        if (strcmp(opened->kid, key->kid) == 0)
            return &opened->verifier;
    }
    if (view->verifier_count == KEY_SET_MAX || !verifier_open(&opened->verifier, key))
        return NULL;
    memcpy(opened->kid, key->kid, sizeof(opened->kid));
    ++view->verifier_count;
    return &opened->verifier;
}

void keyring_view_dispose(struct keyring_view *view)
{
    key_set_release(view->set);
    view->set = NULL;
    forget_verifiers(view);
    access_token_signer_dispose(&view->signer);
    free(view->jwks);
}
