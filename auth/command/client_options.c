#include "auth/command/client_options.h"

#include "auth/command/database.h"

struct client_change client_options_change(const struct client_options *options)
{
    return (struct client_change){
        .name = options->name,
        .tier = options->tier,
        .scope = options->scope,
        .audiences = options->audiences.items,
        .audience_count = options->audiences.count,
        .token_ttl_s = options->token_ttl.is_given ? &options->token_ttl.value : NULL,
        .organization = options->organization,
        .introspect = options->introspect.items,
        .introspect_count = options->introspect.count,
        .labels = options->labels.items,
        .label_count = options->labels.count,
        .claims = options->claims.items,
        .claim_count = options->claims.count,
    };
}

const struct cli_option client_options_id[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct client_id_values, json),
     .help = "print the client as a JSON object"},
    {0},
};

int client_options_run(const struct cli_command *command, const char *id, const void *values,
                       bool (*act)(PGconn *connection, const void *values,
                                   struct store_failure *failure))
{
    struct store_failure failure;
    PGconn *connection = NULL;
    bool done = (id == NULL || client_store_check_id(id, &failure)) &&
                (connection = database_connect(&failure)) != NULL &&
                act(connection, values, &failure);

    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, CLIENT_OPTIONS_HINT);
}
