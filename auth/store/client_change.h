/* The values of a client that can be set, and their rules. A value that breaks one is
 * STORE_INVALID. */
#ifndef AUTH_STORE_CLIENT_CHANGE_H
#define AUTH_STORE_CLIENT_CHANGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/store/store.h"
#include "common/attributes.h"
#include "common/integer.h"

#define CLIENT_CHANGE_DEFAULT_TIER "free" /* of new clients */

/* NULL leaves a value as it is, or gives a new client its default. */
struct client_change {
    const char *name;
    const char *tier;
    const char *scope;
    const char *const *audiences;  /* an array; empty strings are skipped */
    size_t audience_count;         /* 0: not given */
    const long long *token_ttl_s;  /* 0: none of its own */
    const char *organization;      /* empty: none */
    const char *const *introspect; /* as `audiences`; `*` alone: all */
    size_t introspect_count;
    const char *const *labels; /* each NAME=VALUE; NAME= removes it, and the others stay */
    size_t label_count;
    const char *const *claims; /* each NAME=JSON; as `labels` */
    size_t claim_count;
    const bool *is_enabled;
    const json_t *label_object, *claim_object; /* instead of the lists */
    bool replaces;                             /* it has no other labels and claims then */
};

#define CLIENT_CHANGE_AUDIENCES_SIZE (CLIENT_MAX_AUDIENCES * (CLIENT_AUDIENCE_MAX + 1))

/* A change as the statements of client_store take it. */
struct client_columns {
    char scope[SCOPE_MAX + 1]; /* separated by spaces, without duplicates; so are the audiences */
    char audiences[CLIENT_CHANGE_AUDIENCES_SIZE];
    char introspect[CLIENT_CHANGE_AUDIENCES_SIZE];
    char token_ttl[INTEGER_LENGTH_MAX + 1];
    char *labels, *claims; /* objects of client_attributes */
};

/* Validates the change; needs no connection. */
MUST_USE bool client_change_check(const struct client_change *change,
                                  struct store_failure *failure);

/* Does so, and fills the columns. client_change_dispose frees them, also after a failure. */
MUST_USE bool client_change_prepare(const struct client_change *change,
                                    struct client_columns *columns, struct store_failure *failure);
void client_change_dispose(struct client_columns *columns);

/* Whether nothing is given. */
MUST_USE bool client_change_is_empty(const struct client_change *change);

#endif
