/* The options by which several commands describe a client. */
#ifndef AUTH_COMMAND_CLIENT_OPTIONS_H
#define AUTH_COMMAND_CLIENT_OPTIONS_H

#include "auth/command/cli.h"
#include "auth/store/client_store.h"

/* What was given, in a command's struct of values. */
struct client_options {
    const char *name, *tier, *scope;
    struct cli_list audiences;
    struct cli_number token_ttl;
};

/* What is to become of the client. */
struct client_change client_options_change(const struct client_options *options);

#define CLIENT_OPTIONS_HINT "`jotd client list` shows them"

#endif
