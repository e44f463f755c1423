/* The key directory: what signs now, and what is published.
 *
 * A signing key is one file, `<kid>.<alg>.<activate>[.<retire>].pem`, times in epoch seconds, mode
 * 0600, written under a temporary name and renamed: the directory is the whole state, so there is
 * nothing else to keep in step, and replicas share keys by sharing the directory. ES256 and RS256
 * keys are PKCS #8 PEM and their kid is the RFC 7638 thumbprint; an HS256 key is 32 random bytes
 * in a PEM block of type `JOTD HS256 KEY` and its kid is random (a thumbprint would be a hash of
 * the secret).
 *
 * Of the keys whose time has come, the one activated last signs. A key is published from the
 * moment that its file exists until its retire time; no token signed by it expires later than that.
 */
#ifndef AUTH_TOKEN_KEY_SET_H
#define AUTH_TOKEN_KEY_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"
#include "common/failure.h"

#define KEY_KID_LENGTH 43 /* base64url of 256 bits */
#define KEY_MAX_FILES  64 /* keys in one directory; more is an error */

enum key_alg {
    KEY_ES256,
    KEY_RS256,
    KEY_HS256,
    KEY_ALG_COUNT,
};

struct signing_key {
    char kid[KEY_KID_LENGTH + 1];
    enum key_alg alg;
    int64_t activate_at; /* epoch seconds from which it may sign */
    int64_t retire_at;   /* epoch seconds from which it is no longer published; 0: not set */
    char *material;      /* PEM text with a NUL (ES256, RS256) or 32 raw bytes (HS256) */
    size_t material_length;
    char *jwk; /* public members as a JSON object, RFC 7517; NULL for HS256 */
};

/* What the directory held at one moment. Never changed after key_directory_load; shared by threads,
 * so it is counted: the last key_set_release wipes and frees it. */
struct key_set {
    struct signing_key keys[KEY_MAX_FILES]; /* ascending by activate_at, then by kid */
    size_t count;
    uint64_t fingerprint; /* of the directory listing: names, sizes, times of change */
    int references;       /* atomic */
};

enum key_state {
    KEY_NEXT,     /* published, its time to sign has not come */
    KEY_SIGNING,  /* signs now */
    KEY_RETIRING, /* published for the tokens that it signed */
    KEY_RETIRED,  /* no longer published; `jotd key prune` removes it */
};

const char *key_alg_name(enum key_alg alg);
MUST_USE bool key_alg_parse(const char *name, enum key_alg *alg);
const char *key_state_name(enum key_state state);

/* False when everybody may write to the directory, and so could put a key there that signs. One
 * that is not there passes. */
MUST_USE bool key_directory_check(const char *directory, struct failure *failure);

/* Reads the directory. A file that cannot be used is logged (event=key.skipped, with the file's
 * name and the reason) and left out; one that others may read is logged (event=key.permissions)
 * and used; a directory that its group may write to as well (event=keys.permissions). So call this
 * only when the fingerprint has changed. Files that do not end in .pem and names that begin with a
 * dot are not looked at. NULL when the directory cannot be read, holds more than KEY_MAX_FILES or
 * does not stop changing, everybody may write to it, or a file is out of reach for reasons that
 * pass (no file descriptor, no memory): then the caller goes on with the set that it has. An empty
 * directory is an empty set. */
MUST_USE struct key_set *key_directory_load(const char *directory, struct failure *failure);

/* The fingerprint that key_directory_load would store, without reading any key; 0 when the
 * directory cannot be read. Cheap enough for once a second. */
uint64_t key_directory_fingerprint(const char *directory);

struct key_set *key_set_keep(struct key_set *set);
void key_set_release(struct key_set *set);

/* The key that signs at `now` (epoch seconds), or NULL. */
const struct signing_key *key_set_signing(const struct key_set *set, int64_t now);

enum key_state key_set_state(const struct key_set *set, const struct signing_key *key, int64_t now);

/* Whether a key of this algorithm is published at `now`. */
bool key_set_publishes(const struct key_set *set, enum key_alg alg, int64_t now);

/* The JWK set document (RFC 7517 5) of what is published at `now`: malloc'd, NUL-terminated. */
char *key_set_jwks(const struct key_set *set, int64_t now);

/* Makes a key and its file (and the directory, mode 0700, when it is missing). On success `kid`
 * holds the new key's id. */
MUST_USE bool key_directory_create(const char *directory, enum key_alg alg, int64_t activate_at,
                                   char kid[KEY_KID_LENGTH + 1], struct failure *failure);

/* Gives a key its retire time by renaming its file. */
MUST_USE bool key_directory_retire(const char *directory, const struct signing_key *key,
                                   int64_t retire_at, struct failure *failure);

/* Removes a key's file. */
MUST_USE bool key_directory_remove(const char *directory, const struct signing_key *key,
                                   struct failure *failure);

#endif
