/* `jotd tier usage`. */
#ifndef AUTH_COMMAND_TIER_USAGE_H
#define AUTH_COMMAND_TIER_USAGE_H

#include "auth/command/cli.h"

int admin_tier_usage(const struct cli_command *command, int argc, char **argv);

#endif
