/* Creates and changes the files of the key directory. Each change takes effect with one rename or
 * unlink, so a reader sees the state before it or after it.
 */
#ifndef AUTH_TOKEN_KEY_FILE_H
#define AUTH_TOKEN_KEY_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "auth/token/key.h"
#include "common/attributes.h"
#include "common/failure.h"

/* Waits until no other process has this lock of the directory, so that changes follow each other.
 * Close the descriptor to give it up. Returns -1 if there is no such directory, and a descriptor
 * without the lock where the file system has none for directories, as NFS. */
int key_file_lock(const char *directory);

/* Creates a key and its file, and the directory (mode 0700) if missing. On success `kid` holds the
 * new key's id. */
MUST_USE bool key_file_create(const char *directory, enum key_alg alg, int64_t activate_at,
                              char kid[KEY_KID_LENGTH + 1], struct failure *failure);

/* Sets a key's retire time by renaming its file. */
MUST_USE bool key_file_retire(const char *directory, const struct signing_key *key,
                              int64_t retire_at, struct failure *failure);

MUST_USE bool key_file_remove(const char *directory, const struct signing_key *key,
                              struct failure *failure);

#endif
