/* Connects a command to the database, and reports operations that fail. */
#ifndef AUTH_COMMAND_DATABASE_H
#define AUTH_COMMAND_DATABASE_H

#include <libpq-fe.h>

#include "auth/command/cli.h"
#include "auth/settings.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define DATABASE_APPLICATION "jotd-cli"

/* Reads the settings from the environment and connects, as the actor `command:USER`. Refuses an
 * incompatible schema. NULL on failure. */
MUST_USE PGconn *database_connect(struct store_failure *failure);

/* Prints why it failed, followed by `hint` (unless NULL) if the object was not found or is in the
 * way. Returns the exit status: CLI_USAGE for an invalid value. */
int database_fail(const struct cli_command *command, const struct store_failure *failure,
                  const char *hint);

#endif
