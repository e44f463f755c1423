/* Scope values: lists of tokens separated by single spaces (RFC 6749 3.3). Pure. */
#ifndef AUTH_CLIENT_SCOPE_H
#define AUTH_CLIENT_SCOPE_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

#define SCOPE_MAX        4096 /* bytes that a client's scope, and so what it is granted, can have */
#define SCOPE_TOKENS_MAX 2048 /* so many tokens have their place in them */

/* scope-token *( SP scope-token ), scope-token = 1*( %x21 / %x23-5B / %x5D-7E ). Not empty. So a
 * valid scope needs no escaping in JSON. */
MUST_USE bool scope_is_valid(struct slice scope);

/* Takes the first token off a list separated by spaces; false when none is left. Between two spaces
 * is an empty one. */
MUST_USE bool scope_next(struct slice *rest, struct slice *token);

/* Whether `wanted`, which may be any bytes, is one of the tokens. */
MUST_USE bool scope_has(struct slice scope, struct slice wanted);

size_t scope_count(struct slice scope);

/* The tokens of a valid scope, sorted as scope_grant wants them: scope_count of them. They point
 * into it. */
void scope_sort(struct slice scope, struct slice *tokens);

/* Copies the tokens that are asked for to `out` (SCOPE_MAX bytes), separated by single spaces, each
 * once, in the order in which they are asked for. False when one of them is not among the allowed
 * ones. `asked` may be any bytes: blanks around its tokens are no error. */
MUST_USE bool scope_grant(struct slice asked, const struct slice *allowed, size_t count, char *out,
                          size_t *length);

#endif
