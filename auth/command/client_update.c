/* `jotd client update`, `revoke-tokens`, `disable`, `enable` and `delete`. */
#include <stdio.h>

#include "auth/command/client_json.h"
#include "auth/command/client_options.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/client_store.h"

static bool print_changed(PGresult *clients, const char *done, bool json,
                          struct store_failure *failure)
{
    struct client_values client;
    bool printed = true;

    if (clients == NULL)
        return false;
    client = client_store_values(clients, 0);
    if (json)
        printed = print_json(client_json(&client), &failure->why);
    else
        printf("%s client %s\n", done, client.client_id);
    PQclear(clients);
    return printed;
}

struct update_values {
    const char *id;
    struct client_options client;
    bool json;
};

#define AT(member) offsetof(struct update_values, member)

static const struct cli_option update_options[] = {
    {.name = "name",
     .kind = CLI_TEXT,
     .offset = AT(client.name),
     .value = "NAME",
     .help = "a name for people"},
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = AT(client.tier),
     .value = "TIER",
     .help = "its tier (jotd tier list)"},
    {.name = "scope",
     .kind = CLI_TEXT,
     .offset = AT(client.scope),
     .value = "\"A B\"",
     .help = "the scope that it may ask for; \"\" for none"},
    {.name = "audience",
     .kind = CLI_LIST,
     .offset = AT(client.audiences),
     .value = "URI",
     .help = "a resource that it may ask tokens for; repeatable; \"\" for none"},
    {.name = "token-ttl",
     .kind = CLI_NUMBER,
     .offset = AT(client.token_ttl),
     .value = "SECONDS",
     .max = CLIENT_MAX_TTL_S,
     .help = "lifetime of its tokens; 0: as its tier says, else the server"},
    CLIENT_OPTIONS(struct update_values),
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = AT(json),
     .help = "print the client as a JSON object"},
    {0},
};

static bool update(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct update_values *values = given;
    struct client_change change = client_options_change(&values->client);

    return print_changed(client_store_update(connection, NULL, values->id, &change, failure),
                         "updated", values->json, failure);
}

static int run_update(const struct cli_command *command, const void *given)
{
    const struct update_values *values = given;
    struct client_change change = client_options_change(&values->client);
    struct store_failure failure;

    if (client_change_is_empty(&change))
        return cli_usage(command, "nothing to change was given");
    if (!client_change_check(&change, &failure))
        return database_fail(command, &failure, NULL);
    return client_options_run(command, values->id, values, update);
}

const struct cli_command command_client_update = {
    .path = "jotd client update",
    .summary = "change a client",
    .help = "Changes what the options name, and nothing else. --label and --claim change the\n"
            "labels and claims of those names, --audience and --introspect replace the whole\n"
            "list.",
    .options = update_options,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct update_values),
    .values_size = sizeof(struct update_values),
    .run = run_update,
};

static bool revoke_tokens(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct client_id_values *values = given;
    PGresult *clients = client_store_revoke_tokens(connection, NULL, values->id, failure);

    if (clients == NULL || values->json)
        return print_changed(clients, "", true, failure);
    printf("revoked the tokens of client %s issued before %s\n", values->id,
           client_store_values(clients, 0).tokens_valid_from);
    PQclear(clients);
    return true;
}

static int run_revoke_tokens(const struct cli_command *command, const void *given)
{
    return client_options_run(command, ((const struct client_id_values *)given)->id, given,
                              revoke_tokens);
}

const struct cli_command command_client_revoke_tokens = {
    .path = "jotd client revoke-tokens",
    .summary = "make all tokens that a client has inactive",
    .help = "All tokens that the client has been issued up to now are inactive at /introspect,\n"
            "in every replica within 100 ms. Its secrets stay valid, and it may get new tokens\n"
            "(jotd client disable ID stops that). It compares the clocks of PostgreSQL and the\n"
            "servers: if these may differ by seconds, run it again some seconds later. Services "
            "that verify tokens offline do not see\n"
            "it, not even by /revocations, which lists single tokens: for them, the tokens are\n"
            "valid until they expire.",
    .options = client_options_id,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct client_id_values),
    .values_size = sizeof(struct client_id_values),
    .run = run_revoke_tokens,
};

static bool disable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct client_id_values *values = given;

    return print_changed(client_store_enable(connection, values->id, false, failure), "disabled",
                         values->json, failure);
}

static int run_disable(const struct cli_command *command, const void *given)
{
    return client_options_run(command, ((const struct client_id_values *)given)->id, given,
                              disable);
}

const struct cli_command command_client_disable = {
    .path = "jotd client disable",
    .summary = "refuse tokens to a client until it is enabled again",
    .help = "The client gets no more tokens. Those that it already has are inactive at\n"
            "/introspect; services that verify tokens offline take them until they expire.",
    .options = client_options_id,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct client_id_values),
    .values_size = sizeof(struct client_id_values),
    .run = run_disable,
};

static bool enable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct client_id_values *values = given;

    return print_changed(client_store_enable(connection, values->id, true, failure), "enabled",
                         values->json, failure);
}

static int run_enable(const struct cli_command *command, const void *given)
{
    return client_options_run(command, ((const struct client_id_values *)given)->id, given, enable);
}

const struct cli_command command_client_enable = {
    .path = "jotd client enable",
    .summary = "enable a disabled client",
    .options = client_options_id,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct client_id_values),
    .values_size = sizeof(struct client_id_values),
    .run = run_enable,
};

static bool delete_client(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct client_id_values *values = given;

    return print_changed(client_store_delete(connection, NULL, values->id, failure), "deleted",
                         values->json, failure);
}

static int run_delete(const struct cli_command *command, const void *given)
{
    return client_options_run(command, ((const struct client_id_values *)given)->id, given,
                              delete_client);
}

const struct cli_command command_client_delete = {
    .path = "jotd client delete",
    .summary = "delete a client and its secrets",
    .help =
        "Its tokens are inactive at /introspect for good, also when a client of the same id is\n"
        "made later; services that verify tokens offline take them until they expire. Their\n"
        "records stay.",
    .options = client_options_id,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct client_id_values),
    .values_size = sizeof(struct client_id_values),
    .run = run_delete,
};
