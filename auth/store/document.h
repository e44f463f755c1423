/* Reads JSON objects: their members by name and type. What is null counts as not given. A member
 * that is unknown, or of another type, is STORE_INVALID with a pointer to it.
 */
#ifndef AUTH_STORE_DOCUMENT_H
#define AUTH_STORE_DOCUMENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

/* Whether it is an object whose members are all in `names`, which ends with NULL. */
MUST_USE bool document_check(const json_t *document, const char *const *names,
                             struct store_failure *failure);

/* These leave the value as it is if the member is not given; texts live as long as the document. */
MUST_USE bool document_text(const json_t *document, const char *name, const char **text,
                            struct store_failure *failure);
MUST_USE bool document_boolean(const json_t *document, const char *name, bool *value,
                               struct store_failure *failure);
MUST_USE bool document_integer(const json_t *document, const char *name, long long *value,
                               struct store_failure *failure);
MUST_USE bool document_object(const json_t *document, const char *name, const json_t **object,
                              struct store_failure *failure);

/* An array of at most `max` strings. */
MUST_USE bool document_list(const json_t *document, const char *name, const char **items,
                            size_t max, size_t *count, struct store_failure *failure);

/* Applies a JSON merge patch (RFC 7396 2) and returns the result, which the caller owns; NULL when
 * out of memory. */
MUST_USE json_t *document_merge(const json_t *document, const json_t *patch);

/* Values as members: null for NULL. */
json_t *document_number(const char *number);
json_t *document_words(const char *words); /* separated by spaces: an array */

#endif
