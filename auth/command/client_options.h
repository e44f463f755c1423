/* The options that describe a client, shared by several commands. */
#ifndef AUTH_COMMAND_CLIENT_OPTIONS_H
#define AUTH_COMMAND_CLIENT_OPTIONS_H

#include "auth/command/cli.h"
#include "auth/store/client_store.h"

/* The values given, inside a command's struct of values. */
struct client_options {
    const char *name, *tier, *scope;
    struct cli_list audiences;
    struct cli_number token_ttl;
};

/* The change that the options ask for. Points into `options`. */
struct client_change client_options_change(const struct client_options *options);

#define CLIENT_OPTIONS_HINT "`jotd client list` shows them"

#endif
