/* `jotd client`: list, show, update, disable, enable, delete. client_secrets.c has the commands
 * that make or end secrets. */
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

/* For the commands that take only an id and --json. */
struct id_values {
    const char *id;
    bool json;
};

#define JSON_OPTION(type, text)                                                                    \
    {                                                                                              \
        .name = "json", .kind = CLI_FLAG, .offset = offsetof(type, json), .help = (text)           \
    }

static const struct cli_option id_options[] = {
    JSON_OPTION(struct id_values, "print the client as a JSON object"),
    {0},
};

#define ID_ARGUMENT(type)                                                                          \
    {                                                                                              \
        {                                                                                          \
            "ID", offsetof(type, id), "the ID of a client is missing"                              \
        }                                                                                          \
    }

/* Checks the id if there is one, connects and calls `act`. Reports a failure of any of them. */
static int with_client(const struct cli_command *command, const char *id, const void *values,
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

/* list */

struct list_values {
    const char *tier;
    struct cli_number limit;
    bool json;
};

static const struct cli_option list_options[] = {
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = offsetof(struct list_values, tier),
     .value = "TIER",
     .help = "only those of this tier"},
    {.name = "limit",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct list_values, limit),
     .value = "N",
     .max = LIST_LIMIT_MAX,
     .help = "how many at most, 0 for all; default: 100"},
    JSON_OPTION(struct list_values, "print a JSON array"),
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
    PGresult *clients =
        client_store_list(connection, values->tier,
                          values->limit.is_given ? values->limit.value : LIST_LIMIT, failure);
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
    return with_client(command, NULL, values, list);
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

    json_object_set_new(object, "secrets", client_json_secrets(secrets));
    return print_json(object, failure);
}

static void print_client(const struct client_values *client, const PGresult *secrets)
{
    const struct {
        const char *label, *value, *empty;
    } lines[] = {
        {"client_id", client->client_id, ""},
        {"name", client->name, ""},
        {"tier", client->tier, ""},
        {"scope", client->scope, "none"},
        {"audiences", client->audiences, "the issuer"},
        {"token_ttl", client->token_ttl, "the server's default"},
        {"created_at", client->created_at, ""},
        {"updated_at", client->updated_at, ""},
        {"enabled", client->is_enabled ? "yes" : "no", ""},
    };

    for (size_t i = 0; i != COUNT_OF(lines); ++i) {
        const char *value = lines[i].value;

        printf("%-12s%s\n", lines[i].label,
               value != NULL && *value != '\0' ? value : lines[i].empty);
    }
    for (int row = 0; row != PQntuples(secrets); ++row) {
        struct secret_values secret = secret_store_values(secrets, (size_t)row);

        printf("%-12s%s made %s, %s %s\n", "secret", secret.secret_id, secret.created_at,
               secret.is_live ? "ends" : "ended",
               secret.expires_at != NULL ? secret.expires_at : "never");
    }
}

static bool show(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;
    PGresult *clients = client_store_find(connection, values->id, failure), *secrets = NULL;
    bool done =
        clients != NULL && (secrets = secret_store_list(connection, values->id, failure)) != NULL;
    struct client_values client;

    if (done)
        client = client_store_values(clients, 0);
    if (done && values->json)
        done = print_client_json(&client, secrets, &failure->why);
    else if (done)
        print_client(&client, secrets);
    PQclear(secrets);
    PQclear(clients);
    return done;
}

static int run_show(const struct cli_command *command, const void *given)
{
    return with_client(command, ((const struct id_values *)given)->id, given, show);
}

static const struct cli_command command_show = {
    .path = "jotd client show",
    .summary = "show a client, with the ids and times of its secrets",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_show,
};

/* Changes: each returns the client's row. */

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
     .help = "lifetime of its tokens; 0: as the server says"},
    JSON_OPTION(struct update_values, "print the client as a JSON object"),
    {0},
};

static bool update(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct update_values *values = given;
    struct client_change change = client_options_change(&values->client);

    return print_changed(client_store_update(connection, values->id, &change, failure), "updated",
                         values->json, failure);
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
    return with_client(command, values->id, values, update);
}

static const struct cli_command command_update = {
    .path = "jotd client update",
    .summary = "change a client",
    .help = "Changes what the options name, and nothing else.",
    .options = update_options,
    .arguments = ID_ARGUMENT(struct update_values),
    .values_size = sizeof(struct update_values),
    .run = run_update,
};

static bool disable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(client_store_enable(connection, values->id, false, failure), "disabled",
                         values->json, failure);
}

static int run_disable(const struct cli_command *command, const void *given)
{
    return with_client(command, ((const struct id_values *)given)->id, given, disable);
}

static const struct cli_command command_disable = {
    .path = "jotd client disable",
    .summary = "refuse tokens to a client until it is enabled again",
    .help = "The client gets no more tokens. Those that it already has stay valid until they\n"
            "expire.",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_disable,
};

static bool enable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(client_store_enable(connection, values->id, true, failure), "enabled",
                         values->json, failure);
}

static int run_enable(const struct cli_command *command, const void *given)
{
    return with_client(command, ((const struct id_values *)given)->id, given, enable);
}

static const struct cli_command command_enable = {
    .path = "jotd client enable",
    .summary = "enable a disabled client",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_enable,
};

static bool delete_client(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(client_store_delete(connection, values->id, failure), "deleted",
                         values->json, failure);
}

static int run_delete(const struct cli_command *command, const void *given)
{
    return with_client(command, ((const struct id_values *)given)->id, given, delete_client);
}

static const struct cli_command command_delete = {
    .path = "jotd client delete",
    .summary = "delete a client and its secrets",
    .help = "Its issued tokens stay on record.",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_delete,
};

const struct cli_command command_client = {
    .path = "jotd client",
    .summary = "create, list, show, update, disable, enable, delete clients; their secrets",
    .commands =
        (const struct cli_command *const[]){&command_client_create, &command_list, &command_show,
                                            &command_update, &command_client_rotate,
                                            &command_client_revoke_secret, &command_disable,
                                            &command_enable, &command_delete, NULL},
};
