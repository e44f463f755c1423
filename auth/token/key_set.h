/* The set of signing keys: which one signs, and which are published.
 *
 * Of the active keys, the one activated last signs. A key is published from the creation of its
 * file until its retire time; no token signed by it expires later.
 */
#ifndef AUTH_TOKEN_KEY_SET_H
#define AUTH_TOKEN_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/token/key.h"

#define KEY_SET_MAX 64 /* more keys are an error */

/* A snapshot of the key directory, immutable once loaded. Shared between threads by reference
 * count: the last key_set_release wipes and frees it. */
struct key_set {
    struct signing_key keys[KEY_SET_MAX]; /* ascending by activate_at, then by kid */
    size_t count;
    uint64_t fingerprint; /* of the directory listing: names, sizes, mtimes, ctimes */
    int references;       /* atomic */
};

enum key_state {
    KEY_NEXT,     /* published, not yet active */
    KEY_SIGNING,  /* signing now */
    KEY_RETIRING, /* published for the tokens it signed */
    KEY_RETIRED,  /* no longer published; `jotd key prune` removes it */
};

const char *key_set_state_name(enum key_state state);

struct key_set *key_set_keep(struct key_set *set);
void key_set_release(struct key_set *set);

/* The key with that kid, or NULL. */
const struct signing_key *key_set_find(const struct key_set *set, const char *kid);

/* The key that signs at `now` (epoch seconds), or NULL. */
const struct signing_key *key_set_signing(const struct key_set *set, int64_t now);

enum key_state key_set_state(const struct key_set *set, const struct signing_key *key, int64_t now);

/* Whether a key of this algorithm is published at `now`. */
bool key_set_publishes(const struct key_set *set, enum key_alg alg, int64_t now);

/* The JWK set document (RFC 7517 5) published at `now`: malloc'd, NUL-terminated. */
char *key_set_jwks(const struct key_set *set, int64_t now);

#endif
