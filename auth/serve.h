/* `jotd serve`. */
#ifndef AUTH_SERVE_H
#define AUTH_SERVE_H

#include "auth/command/cli.h"

/* Runs until SIGTERM or SIGINT. */
extern const struct cli_command serve_command;

#endif
