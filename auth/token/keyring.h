/* The signing keys in memory: one ring per process, which the main thread keeps in sync with the
 * key directory, and a view of it per worker with the parsed current signing key.
 */
#ifndef AUTH_TOKEN_KEYRING_H
#define AUTH_TOKEN_KEYRING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/token/access_token.h"
#include "auth/token/key_set.h"
#include "auth/token/verifier.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/etag.h"
#include "common/slice.h"

struct keyring {
    const char *directory;
    char signing[KEY_KID_LENGTH + 1]; /* kid last logged as signing, or "none" */
    pthread_mutex_t lock;             /* guards `set` */
    struct key_set *set;              /* NULL until the directory was loaded once */
    _Atomic uint64_t version;         /* counts loaded sets; 0: none yet */
    bool is_unreadable;               /* the directory, when last checked */
};

/* Main thread. keyring_refresh retries a directory that cannot be read yet. */
void keyring_open(struct keyring *ring, const char *directory);
void keyring_close(struct keyring *ring);

/* Main thread, about once a second: reloads the directory when its listing has changed, or always
 * with `force`. While it cannot be read, the current keys stay in use. */
void keyring_refresh(struct keyring *ring, bool force);

#define KEYRING_DIGEST_SIZE 65

/* SHA-256, in hex, of the sorted kids of the keys published at `now` (epoch seconds), each followed
 * by a line feed: rings that differ in it do not have the same keys. Empty until the directory was
 * loaded. From any thread. */
void keyring_digest(struct keyring *ring, int64_t now, char digest[KEYRING_DIGEST_SIZE]);

/* Opened when a token of its key is verified first, since parsing a key takes a millisecond. */
struct keyring_verifier {
    char kid[KEY_KID_LENGTH + 1];
    struct verifier verifier;
};

/* A worker's view, used by its thread only. Initialize to zero. */
struct keyring_view {
    struct key_set *set;
    uint64_t version;   /* of the ring, when last checked */
    int64_t holds_from; /* epoch seconds; valid from then … */
    int64_t changes_at; /* … until then, unless the ring changes */
    struct access_token_signer signer;
    struct keyring_verifier verifiers[KEY_SET_MAX];
    size_t verifier_count;
    char *jwks; /* the JWK set document; NULL without a set */
    size_t jwks_length;
    char etag[ETAG_SIZE];
};

/* Updates the view to the ring and to `now` (epoch seconds); cheap when nothing has changed. */
void keyring_view_refresh(struct keyring_view *view, struct keyring *ring, int64_t now);

/* The key with that kid, unless it is retired at `now` (epoch seconds): its tokens are valid. NULL
 * when there is none. */
const struct signing_key *keyring_view_find(const struct keyring_view *view, struct slice kid,
                                            int64_t now);

/* The verifier of a key of the view; NULL when OpenSSL cannot use it. */
struct verifier *keyring_view_verifier(struct keyring_view *view, const struct signing_key *key);

void keyring_view_dispose(struct keyring_view *view);

#endif
