/* The signing keys in memory: one ring for the process, which the main thread keeps in step with
 * the key directory, and a view of it in each worker, with the parsed key that signs now.
 */
#ifndef AUTH_TOKEN_KEYRING_H
#define AUTH_TOKEN_KEYRING_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/token/access_token.h"
#include "auth/token/key_set.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/etag.h"

struct keyring {
    const char *directory;
    char signing[KEY_KID_LENGTH + 1]; /* the kid that was logged last as the one that signs */
    pthread_mutex_t lock;             /* of `set` */
    struct key_set *set;              /* NULL until the directory was read once */
    _Atomic uint64_t version;         /* counts the sets; 0: none yet */
    bool is_unreadable;               /* the directory, at the last look */
};

/* Main thread. A directory that cannot be read now is tried again by keyring_refresh. */
void keyring_open(struct keyring *ring, const char *directory);
void keyring_close(struct keyring *ring);

/* Main thread, about once a second: reads the directory again when its listing has changed, or
 * always with `force`. While it cannot be read, the keys that are held stay in use. */
void keyring_refresh(struct keyring *ring, bool force);

/* A worker's view; belongs to its thread. Zero it to start. */
struct keyring_view {
    struct key_set *set;
    uint64_t version;   /* of the ring, when it was looked at last */
    int64_t holds_from; /* epoch seconds between which time alone does not change what it says */
    int64_t changes_at;
    struct access_token_signer signer;
    char *jwks; /* the JWK set document; NULL when there is no set */
    size_t jwks_length;
    char etag[ETAG_SIZE];
};

/* Brings the view up to date with the ring and the time; cheap when nothing has changed. */
void keyring_view_refresh(struct keyring_view *view, struct keyring *ring, int64_t now);
void keyring_view_dispose(struct keyring_view *view);

#endif
