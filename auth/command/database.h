/* The database of a command: how it is reached, and what is said when an operation fails. */
#ifndef AUTH_COMMAND_DATABASE_H
#define AUTH_COMMAND_DATABASE_H

#include <libpq-fe.h>

#include "auth/command/cli.h"
#include "auth/settings.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define DATABASE_APPLICATION "jotd-cli"

/* Settings from the environment and a connection to a database with the schema that this program
 * knows. NULL on failure. */
MUST_USE PGconn *database_connect(struct store_failure *failure);

/* Says why, and what to do: `hint`, when not NULL, for what is not found or in the way. Returns the
 * exit status: a value of a wrong form is wrong usage. */
int database_fail(const struct cli_command *command, const struct store_failure *failure,
                  const char *hint);

#endif
