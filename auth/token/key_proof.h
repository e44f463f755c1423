/* Checks that a key's signatures verify. */
#ifndef AUTH_TOKEN_KEY_PROOF_H
#define AUTH_TOKEN_KEY_PROOF_H

#include <stdbool.h>

#include "auth/token/key.h"
#include "common/attributes.h"

/* Signs a token as the server does and has libjwt verify it with what a service has: the public
 * half or the shared secret. libjwt parses tokens and signatures independently, so a key that
 * others would reject is found before a client gets a token. Takes some milliseconds.
 */
MUST_USE bool key_proof(const struct signing_key *key);

#endif
