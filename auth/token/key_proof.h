/* Whether what a key signs verifies. */
#ifndef AUTH_TOKEN_KEY_PROOF_H
#define AUTH_TOKEN_KEY_PROOF_H

#include <stdbool.h>

#include "auth/token/key.h"
#include "common/attributes.h"

/* Signs a token with the key, as the server does, and has libjwt verify it with what a service has:
 * the public half, or the shared secret. libjwt takes tokens and signatures apart by code of its
 * own, so that what others would refuse is noticed before a client has it. Takes some milliseconds.
 */
MUST_USE bool key_proof(const struct signing_key *key);

#endif
