/* What the commands of `jotd key` share. */
#ifndef AUTH_COMMAND_KEY_COMMAND_H
#define AUTH_COMMAND_KEY_COMMAND_H

#include <stdbool.h>

#include "auth/command/cli.h"
#include "auth/settings.h"
#include "auth/token/key.h"
#include "common/attributes.h"
#include "common/failure.h"

#define KEY_COMMAND_DELAY_MAX_S 31536000 /* a year */

#define KEY_COMMAND_ALG(at, text)                                                                  \
    {                                                                                              \
        .name = "alg", .kind = CLI_TEXT, .offset = (at), .value = "ALG", .help = (text)            \
    }
#define KEY_COMMAND_JSON(at, text)                                                                 \
    {                                                                                              \
        .name = "json", .kind = CLI_FLAG, .offset = (at), .help = (text)                           \
    }

/* Leaves `alg` alone if none is given. False, with the exit status, if it is not an algorithm. */
MUST_USE bool key_command_read_alg(const struct cli_command *command, const char *given,
                                   enum key_alg *alg, int *status);

/* Runs a command on the key directory and returns its exit status. First asks PostgreSQL, perhaps
 * as root, who may hold the password (NULL: not needed); then works in the directory as its owner,
 * alone: others that run meanwhile wait. `act` gets the command's values. */
int key_command_run(const void *values, void (*ask_database)(const struct settings *settings),
                    bool (*act)(const struct settings *settings, const void *values,
                                struct failure *failure));

#endif
