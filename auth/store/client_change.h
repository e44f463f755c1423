/* The values of a client that can be set, and their rules. */
#ifndef AUTH_STORE_CLIENT_CHANGE_H
#define AUTH_STORE_CLIENT_CHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/store/store.h"
#include "common/attributes.h"

/* NULL leaves a value as it is, or gives a new client its default. */
struct client_change {
    const char *name;
    const char *tier;
    const char *scope;
    const char *const *audiences; /* an array; empty strings are skipped */
    size_t audience_count;        /* 0: not given */
    const long long *token_ttl_s; /* 0: the server's default */
};

/* A change as the statements of client_store take it. */
struct client_columns {
    char scope[SCOPE_MAX + 1]; /* separated by spaces, without duplicates; so are the audiences */
    char audiences[CLIENT_MAX_AUDIENCES * (CLIENT_AUDIENCE_MAX + 1)];
};

/* Validates the change; needs no connection. */
MUST_USE bool client_change_check(const struct client_change *change,
                                  struct store_failure *failure);

/* Does so, and fills the columns. */
MUST_USE bool client_change_prepare(const struct client_change *change,
                                    struct client_columns *columns, struct store_failure *failure);

/* Whether nothing is given. */
MUST_USE bool client_change_is_empty(const struct client_change *change);

#endif
