/* Reads the key directory.
 *
 * Each signing key is one file, `<kid>.<alg>.<activate>[.<retire>].pem`, times in epoch seconds,
 * mode 0600, written under a temporary name and then renamed. The directory is the whole state:
 * nothing else needs to be kept in sync, and replicas share keys by sharing the directory.
 */
#ifndef AUTH_TOKEN_KEY_DIRECTORY_H
#define AUTH_TOKEN_KEY_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/token/key_set.h"
#include "common/attributes.h"
#include "common/failure.h"

/* False when everybody may write to the directory and so could plant a signing key. A missing
 * directory passes. */
MUST_USE bool key_directory_check(const char *directory, struct failure *failure);

/* Loads the directory. Logs and skips unusable files (event=key.skipped, with file name and
 * reason). Logs but uses files that others may access (event=key.permissions) and a directory that
 * its group may write to (event=keys.permissions). Because of these logs, call it only when the
 * fingerprint has changed. Ignores names that begin with a dot or do not end in .pem. Returns NULL
 * when the directory cannot be read, holds more than KEY_SET_MAX keys, keeps changing or is
 * writable by everybody, or when a file cannot be read for a temporary reason (no file descriptor,
 * no memory): the caller then keeps its current set. An empty directory yields an empty set. */
MUST_USE struct key_set *key_directory_load(const char *directory, struct failure *failure);

/* The fingerprint that key_directory_load would store, without reading any key; 0 when the
 * directory cannot be read or everybody may write to it. Cheap enough to call once a second. */
uint64_t key_directory_fingerprint(const char *directory);

#endif
