/* Scope values: lists of tokens separated by single spaces (RFC 6749 3.3). Pure. */
#ifndef AUTH_CLIENT_SCOPE_H
#define AUTH_CLIENT_SCOPE_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

#define SCOPE_MAX        4096 /* bytes in a client's scope, and so in a granted one */
#define SCOPE_TOKENS_MAX 2048 /* the most tokens that fit in SCOPE_MAX */

/* scope-token *( SP scope-token ), scope-token = 1*( %x21 / %x23-5B / %x5D-7E ). Not empty. A valid
 * scope needs no escaping in JSON. */
MUST_USE bool scope_is_valid(struct slice scope);

/* Takes the first token off a space-separated list; false when none is left. Two adjacent spaces
 * enclose an empty token. */
MUST_USE bool scope_next(struct slice *rest, struct slice *token);

/* Whether `wanted` (any bytes) is one of the tokens. */
MUST_USE bool scope_has(struct slice scope, struct slice wanted);

size_t scope_count(struct slice scope);

/* Writes the scope_count(scope) tokens of a valid scope to `tokens`, sorted for scope_grant. They
 * point into `scope`. */
void scope_sort(struct slice scope, struct slice *tokens);

/* Copies the requested tokens to `out` (SCOPE_MAX bytes) in request order, separated by single
 * spaces, without duplicates. False when one of them is not allowed. `asked` may be any bytes;
 * extra spaces are ignored. */
MUST_USE bool scope_grant(struct slice asked, const struct slice *allowed, size_t count, char *out,
                          size_t *length);

#endif
