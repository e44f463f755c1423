/* What a change by somebody else must respect: the caller's rights, and the version of the object
 * that it has seen. Commands have no guard: who may connect as the administrator may do all.
 *
 * A client is privileged if it has a reserved scope (`jotd:…`), may ask about the tokens of all
 * audiences, or may request tokens for the administration. Only who governs may touch one, or make
 * a client privileged: otherwise a caller could take such a client over.
 */
#ifndef AUTH_STORE_GUARD_H
#define AUTH_STORE_GUARD_H

#include <stdbool.h>

#include "auth/store/store.h"
#include "common/attributes.h"

#define GUARD_RESERVED_SCOPE "jotd:" /* what reserved scopes begin with */
#define GUARD_SCOPE_READ     "jotd:read"
#define GUARD_SCOPE_WRITE    "jotd:write"
#define GUARD_SCOPE_ADMIN    "jotd:admin"

/* The audience of the tokens for the administration is the issuer with this. */
#define GUARD_AUDIENCE_PATH "/admin"

struct guard {
    bool governs;               /* may change everything */
    const char *admin_audience; /* of the tokens for the administration */
    const char *versions;       /* any of these, separated by commas; `*`: any; NULL: not said */
    bool needs_versions;        /* what exists is changed only if the versions are said */
    bool is_new;                /* nothing is changed that exists */
};

/* The texts are those of client_store, separated by spaces. */
struct guard_client {
    const char *scope, *audiences, *introspect;
};

/* `version` is that of the object; NULL: it does not exist. A NULL guard takes everything, here and
 * below. */
MUST_USE bool guard_check_version(const struct guard *guard, const char *version,
                                  struct store_failure *failure);

/* Whether the caller governs; `what` is in the reason: "tiers". */
MUST_USE bool guard_check_governs(const struct guard *guard, const char *what,
                                  struct store_failure *failure);

/* Whether the caller may touch this client, as it is or as it would be. */
MUST_USE bool guard_check_client(const struct guard *guard, const struct guard_client *client,
                                 struct store_failure *failure);

/* Whether the client has a reserved scope. */
bool guard_has_reserved_scope(const char *scope);

#endif
