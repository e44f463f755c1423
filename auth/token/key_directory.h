/* The key directory, read.
 *
 * A signing key is one file, `<kid>.<alg>.<activate>[.<retire>].pem`, times in epoch seconds, mode
 * 0600, written under a temporary name and renamed: the directory is the whole state, so there is
 * nothing else to keep in step, and replicas share keys by sharing the directory.
 */
#ifndef AUTH_TOKEN_KEY_DIRECTORY_H
#define AUTH_TOKEN_KEY_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/token/key_set.h"
#include "common/attributes.h"
#include "common/failure.h"

/* False when everybody may write to the directory, and so could put a key there that signs. One
 * that is not there passes. */
MUST_USE bool key_directory_check(const char *directory, struct failure *failure);

/* Reads the directory. A file that cannot be used is logged (event=key.skipped, with the file's
 * name and the reason) and left out; one that others may read is logged (event=key.permissions)
 * and used; a directory that its group may write to as well (event=keys.permissions). So call this
 * only when the fingerprint has changed. Files that do not end in .pem and names that begin with a
 * dot are not looked at. NULL when the directory cannot be read, holds more than KEY_SET_MAX or
 * does not stop changing, everybody may write to it, or a file is out of reach for reasons that
 * pass (no file descriptor, no memory): then the caller goes on with the set that it has. An empty
 * directory is an empty set. */
MUST_USE struct key_set *key_directory_load(const char *directory, struct failure *failure);

/* The fingerprint that key_directory_load would store, without reading any key; 0 when the
 * directory cannot be read. Cheap enough for once a second. */
uint64_t key_directory_fingerprint(const char *directory);

#endif
