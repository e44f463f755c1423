/* The client of an administrator: what it may do, and how it begins. */
#ifndef AUTH_COMMAND_ADMINISTRATOR_H
#define AUTH_COMMAND_ADMINISTRATOR_H

#include <stdbool.h>

#include "auth/store/client_change.h"
#include "auth/store/guard.h"
#include "common/attributes.h"
#include "common/failure.h"

#define ADMINISTRATOR_SCOPE GUARD_SCOPE_READ " " GUARD_SCOPE_WRITE " " GUARD_SCOPE_ADMIN

struct administrator {
    char audience[544];
    const char *audiences[1];
};

/* Gives the change the scope and the audience of an administrator, from JOTD_ISSUER. */
MUST_USE bool administrator_prepare(struct administrator *administrator,
                                    struct client_change *change, struct failure *failure);

/* Tells on stderr how such a client gets its token. */
void administrator_tell(const struct administrator *administrator);

#endif
