/* `jotd tier usage`. */
#ifndef AUTH_ADMIN_USAGE_H
#define AUTH_ADMIN_USAGE_H

#include "auth/cli.h"

int admin_tier_usage(const struct cli_command *command, int argc, char **argv);

#endif
