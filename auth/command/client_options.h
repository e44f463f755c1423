/* What the commands of `jotd client` share: arguments, options, and how they run. */
#ifndef AUTH_COMMAND_CLIENT_OPTIONS_H
#define AUTH_COMMAND_CLIENT_OPTIONS_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "auth/command/cli.h"
#include "auth/store/client_store.h"

/* The values that describe a client, inside a command's struct of values. */
struct client_options {
    const char *name, *tier, *scope, *organization;
    struct cli_list audiences, introspect, labels, claims;
    struct cli_number token_ttl;
};

/* Options that mean the same for a new client and for one that is there. `type` is a command's
 * struct of values, with a `struct client_options client`. */
#define CLIENT_OPTIONS(type)                                                                       \
    {.name = "organization",                                                                       \
     .kind = CLI_TEXT,                                                                             \
     .offset = offsetof(type, client.organization),                                                \
     .value = "ID",                                                                                \
     .help = "the organization that holds it; \"\" for none"},                                     \
        {.name = "label",                                                                          \
         .kind = CLI_LIST,                                                                         \
         .offset = offsetof(type, client.labels),                                                  \
         .value = "NAME=VALUE",                                                                    \
         .help = "for people and their tools; repeatable; NAME= removes it"},                      \
        {.name = "introspect",                                                                     \
         .kind = CLI_LIST,                                                                         \
         .offset = offsetof(type, client.introspect),                                              \
         .value = "URI",                                                                           \
         .help = "an audience whose tokens it may ask about, besides its own\n"                    \
                 "tokens; repeatable; * for all, \"\" for none"},                                  \
    {                                                                                              \
        .name = "claim", .kind = CLI_LIST, .offset = offsetof(type, client.claims),                \
        .value = "NAME=JSON",                                                                      \
        .help = "added to each of its tokens; repeatable; NAME= removes it;\n"                     \
                "a string needs its quotes: plan='\"gold\"'"                                       \
    }

/* The change that the options ask for. Points into `options`. */
struct client_change client_options_change(const struct client_options *options);

/* For the commands that take only an id and --json. */
struct client_id_values {
    const char *id;
    bool json;
};

extern const struct cli_option client_options_id[];

#define CLIENT_OPTIONS_ARGUMENT(type)                                                              \
    {                                                                                              \
        {                                                                                          \
            "ID", offsetof(type, id), "the ID of a client is missing"                              \
        }                                                                                          \
    }

#define CLIENT_OPTIONS_HINT "`jotd client list` shows them"

/* Checks the id if there is one, connects and calls `act`. Reports a failure of any of them.
 * Returns the exit status. */
int client_options_run(const struct cli_command *command, const char *id, const void *values,
                       bool (*act)(PGconn *connection, const void *values,
                                   struct store_failure *failure));

#endif
