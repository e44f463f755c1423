/* The names of key files: `<kid>.<alg>.<activate>[.<retire>].pem`. Pure. */
#ifndef AUTH_TOKEN_KEY_NAME_H
#define AUTH_TOKEN_KEY_NAME_H

#include <stdbool.h>

#include "auth/token/key.h"
#include "common/attributes.h"

#define KEY_NAME_SIZE 80 /* including the NUL */

/* Whether a file name counts as a key: ends in .pem and does not begin with a dot. */
MUST_USE bool key_name_counts(const char *name);

/* Writes the name for a key's kid, alg and times. */
void key_name_write(const struct signing_key *key, char name[KEY_NAME_SIZE]);

/* Fills kid, alg, activate_at and retire_at. Accepts only what key_name_write would write. */
MUST_USE bool key_name_parse(const char *name, struct signing_key *key);

#endif
