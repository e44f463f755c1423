/* Scope values: lists of tokens separated by single spaces (RFC 6749 3.3). Pure. */
#ifndef AUTH_SCOPE_H
#define AUTH_SCOPE_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/slice.h"

#define SCOPE_MAX 4096 /* bytes that a client's scope, and so what it may ask for, can have */

/* scope-token *( SP scope-token ), scope-token = 1*( %x21 / %x23-5B / %x5D-7E ). Not empty. So a
 * valid scope needs no escaping in JSON. */
MUST_USE bool scope_is_valid(struct slice scope);

/* Takes the first token off a list separated by spaces; false when none is left. */
MUST_USE bool scope_next(struct slice *rest, struct slice *token);

/* Whether `wanted`, which may be any bytes, is one of the tokens. */
MUST_USE bool scope_has(struct slice scope, struct slice wanted);

/* Whether every token of the valid scope `asked` is among those of the valid or empty `allowed`. */
MUST_USE bool scope_is_subset(struct slice asked, struct slice allowed);

/* Copies the valid scope `asked` to `out` (at least asked.length bytes) without repeated tokens,
 * in their order, and returns the new length. */
size_t scope_without_repeats(struct slice asked, char *out);

#endif
