/* The labels and the static claims of a client, given as texts such as `team=billing`. */
#ifndef AUTH_STORE_CLIENT_ATTRIBUTES_H
#define AUTH_STORE_CLIENT_ATTRIBUTES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

/* Validate the texts, and make the JSON object that the statements of client_store merge: each name
 * with its value as a string (of a claim: its JSON text), or with null if it is to be removed. The
 * object is NULL if none is given; the caller frees it, also after a failure. What depends on those
 * that the client has already, PostgreSQL checks. */
MUST_USE bool client_attributes_labels(const char *const *labels, size_t count, char **object,
                                       struct store_failure *failure);
MUST_USE bool client_attributes_claims(const char *const *claims, size_t count, char **object,
                                       struct store_failure *failure);

/* The same from JSON objects, whose members are labels or claims to be set. */
MUST_USE bool client_attributes_label_object(const json_t *labels, char **object,
                                             struct store_failure *failure);
MUST_USE bool client_attributes_claim_object(const json_t *claims, char **object,
                                             struct store_failure *failure);

#endif
