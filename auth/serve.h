/* `jotd serve`. */
#ifndef AUTH_SERVE_H
#define AUTH_SERVE_H

#include "auth/command/cli.h"

/* Serves until a signal ends it. */
extern const struct cli_command serve_command;

#endif
