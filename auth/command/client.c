/* `jotd client`: list and show. client_update.c has the commands that change one, client_secrets.c
 * those that make or end secrets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/client_json.h"
#include "auth/command/client_options.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/client_store.h"
#include "common/attributes.h"

#define LIST_LIMIT     100
#define LIST_LIMIT_MAX 1000000000

/* list */

struct list_values {
    const char *tier, *organization;
    struct cli_number limit;
    bool json;
};

static const struct cli_option list_options[] = {
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, tier),
     .value = "TIER",
     .help = "only those of this tier"},
    {.name = "organization",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, organization),
     .value = "ID",
     .help = "only those of this organization"},
    {.name = "limit",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct list_values, limit),
     .value = "N",
     .max = LIST_LIMIT_MAX,
     .help = "how many at most, 0 for all; default: 100"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct list_values, json),
     .help = "print a JSON array"},
    {0},
};

static json_t *row_json(const void *clients, size_t row)
{
    struct client_values client = client_store_values(clients, row);

    return client_json(&client);
}

static bool print_clients(const PGresult *clients, struct failure *failure)
{
    static const char *const names[] = {"client_id", "name", "tier", "enabled", "scope", "created"};
    size_t columns = COUNT_OF(names), rows = (size_t)PQntuples(clients);
    const char **cells = calloc(columns * rows + 1, sizeof(*cells));

    if (cells == NULL)
        return failure_set(failure, "out of memory");
    for (size_t row = 0; row != rows; ++row) {
        struct client_values client = client_store_values(clients, row);
        const char *const line[] = {client.client_id,
                                    client.name,
                                    client.tier,
                                    client.is_enabled ? "yes" : "no",
                                    *client.scope != '\0' ? client.scope : NULL,
                                    client.created_at};

        memcpy(cells + row * columns, line, sizeof(line));
    }
    print_table(names, columns, cells, rows);
    free(cells);
    return true;
}

static bool list(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct list_values *values = given;
    const struct client_filter filter = {
        .tier = values->tier,
        .organization = values->organization,
        .limit = values->limit.is_given ? values->limit.value : LIST_LIMIT,
    };
    PGresult *clients = client_store_list(connection, &filter, failure);
    bool done = clients != NULL;

    if (done && values->json)
        done = print_json_rows((size_t)PQntuples(clients), row_json, clients, &failure->why);
    else if (done)
        done = print_clients(clients, &failure->why);
    PQclear(clients);
    return done;
}

static int run_list(const struct cli_command *command, const void *values)
{
    return client_options_run(command, NULL, values, list);
}

static const struct cli_command command_list = {
    .path = "jotd client list",
    .summary = "list the clients, newest first",
    .options = list_options,
    .values_size = sizeof(struct list_values),
    .run = run_list,
};

/* show */

static bool print_client_json(const struct client_values *client, const PGresult *secrets,
                              struct failure *failure)
{
    json_t *object = client_json(client);

    json_object_set_new(object, "secrets", secret_store_documents_used(secrets));
    return print_json(object, failure);
}

static void print_line(const char *label, const char *value, const char *empty)
{
    printf("%-19s%s\n", label, value != NULL && *value != '\0' ? value : empty);
}

static void print_object(const char *label, const char *object)
{
    char *line = client_json_line(object);

    print_line(label, line, "none");
    free(line);
}

static void print_client(const struct client_values *client)
{
    print_line("client_id", client->client_id, "");
    print_line("name", client->name, "");
    print_line("organization", client->organization, "none");
    print_line("tier", client->tier, "");
    print_line("scope", client->scope, "none");
    print_line("audiences", client->audiences, "the issuer");
    print_line("introspect", client->introspect, "only its own tokens");
    print_line("token_ttl", client->token_ttl, "its tier's, else the server's");
    print_object("claims", client->claims);
    print_object("labels", client->labels);
    print_line("tokens_valid_from", client->tokens_valid_from, "the beginning");
    print_line("created_at", client->created_at, "");
    print_line("updated_at", client->updated_at, "");
    print_line("version", client->version, "");
    print_line("enabled", client->is_enabled ? "yes" : "no", "");
}

static void print_use(const PGresult *secrets, size_t row)
{
    const char *day;

    switch (secret_store_use(secrets, row, &day)) {
    case SECRET_USE_FOUND:
        printf("last used %s\n", day);
        break;
    case SECRET_USE_NONE:
        puts("not used yet");
        break;
    case SECRET_USE_OLDER:
        puts("not among its last 100,000 tokens");
        break;
    case SECRET_USE_NOT_RECORDED:
        puts("last use not recorded");
        break;
    }
}

static void print_secrets(const PGresult *secrets)
{
    for (size_t row = 0; row != (size_t)PQntuples(secrets); ++row) {
        struct secret_values secret = secret_store_values(secrets, row);

        printf("%-19s%s made %s, %s %s, ", "secret", secret.secret_id, secret.created_at,
               secret.is_live ? "ends" : "ended",
               secret.expires_at != NULL ? secret.expires_at : "never");
        print_use(secrets, row);
    }
}

static bool show(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct client_id_values *values = given;
    PGresult *clients = client_store_find(connection, values->id, failure), *secrets = NULL;
    bool done = clients != NULL &&
                (secrets = secret_store_list_used(connection, values->id, failure)) != NULL;
    struct client_values client;

    if (done)
        client = client_store_values(clients, 0);
    if (done && values->json) {
        done = print_client_json(&client, secrets, &failure->why);
    } else if (done) {
        print_client(&client);
        print_secrets(secrets);
    }
    PQclear(secrets);
    PQclear(clients);
    return done;
}

static int run_show(const struct cli_command *command, const void *given)
{
    return client_options_run(command, ((const struct client_id_values *)given)->id, given, show);
}

static const struct cli_command command_show = {
    .path = "jotd client show",
    .summary = "show a client, with the ids and times of its secrets",
    .help = "Shows a client, and of each of its secrets the id, when it was made, when it ends,\n"
            "and the day (UTC) on which a token was last issued for it, as far as the ledger\n"
            "has its tokens and among the client's newest 100,000 ones.",
    .options = client_options_id,
    .arguments = CLIENT_OPTIONS_ARGUMENT(struct client_id_values),
    .values_size = sizeof(struct client_id_values),
    .run = run_show,
};

const struct cli_command command_client = {
    .path = "jotd client",
    .summary = "create, list, show, update, disable, enable, delete clients; their secrets, tokens",
    .commands =
        (const struct cli_command *const[]){&command_client_create, &command_list, &command_show,
                                            &command_client_update, &command_client_rotate,
                                            &command_client_revoke_secret,
                                            &command_client_revoke_tokens, &command_client_disable,
                                            &command_client_enable, &command_client_delete, NULL},
};
