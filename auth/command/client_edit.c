/* `jotd client update`, `disable`, `enable` and `delete`. */
#include <stdio.h>
#include <string.h>

#include "auth/command/client.h"

bool client_fail_unknown(const char *id, struct failure *failure)
{
    return failure_set(failure, "there is no client %s: `jotd client list` shows them", id);
}

bool client_check_tier(PGconn *connection, const char *tier, struct failure *failure)
{
    PGresult *tiers;
    char names[384] = "";
    bool found = false;

    if (tier == NULL)
        return true;
    tiers = admin_query(connection, "SELECT name FROM tiers ORDER BY name", 0, NULL, failure);
    if (tiers == NULL)
        return false;
    for (int row = 0; row != PQntuples(tiers); ++row) {
        const char *name = PQgetvalue(tiers, row, 0);
        size_t length = strlen(names);

        found = found || strcmp(name, tier) == 0;
        snprintf(names + length, sizeof(names) - length, "%s%s", row == 0 ? "" : ", ", name);
    }
    PQclear(tiers);
    return found || failure_set(failure, "there is no tier %.64s; there are: %s", tier, names);
}

/* Runs a statement that returns the columns of the client it changed, and says what was done. */
static bool change(PGconn *connection, const char *sql, int count, const char *const *values,
                   const char *done, bool json, struct failure *failure)
{
    PGresult *result = admin_query(connection, sql, count, values, failure);
    bool changed = result != NULL && PQntuples(result) == 1;

    if (result != NULL && !changed)
        client_fail_unknown(values[0], failure);
    else if (changed && json)
        changed = admin_print_json(client_json(result, 0), failure);
    else if (changed)
        printf("%s client %s\n", done, values[0]);
    PQclear(result);
    return changed;
}

static bool disable(PGconn *connection, const struct client_arguments *arguments,
                    struct failure *failure)
{
    return change(
        connection,
        "UPDATE clients SET enabled = false WHERE client_id = $1 RETURNING " CLIENT_COLUMNS, 1,
        &arguments->id, "disabled", arguments->json, failure);
}

static bool enable(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    return change(
        connection,
        "UPDATE clients SET enabled = true WHERE client_id = $1 RETURNING " CLIENT_COLUMNS, 1,
        &arguments->id, "enabled", arguments->json, failure);
}

static bool delete_client(PGconn *connection, const struct client_arguments *arguments,
                          struct failure *failure)
{
    return change(connection, "DELETE FROM clients WHERE client_id = $1 RETURNING " CLIENT_COLUMNS,
                  1, &arguments->id, "deleted", arguments->json, failure);
}

static bool update(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    const char *const values[] = {arguments->id,    arguments->name,      arguments->tier,
                                  arguments->scope, arguments->audiences, arguments->token_ttl};

    return client_check_tier(connection, arguments->tier, failure) &&
           change(connection,
                  "UPDATE clients SET name = coalesce($2, name), tier = coalesce($3, tier),"
                  " scopes = coalesce(string_to_array($4, ' '), scopes),"
                  " audiences = coalesce(string_to_array($5, ' '), audiences),"
                  " token_ttl = CASE WHEN $6::int IS NULL THEN token_ttl ELSE nullif($6::int, 0)"
                  " END WHERE client_id = $1 RETURNING " CLIENT_COLUMNS,
                  6, values, "updated", arguments->json, failure);
}

int client_run_update(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv,
                               CLIENT_OPTION_BIT(NAME) | CLIENT_OPTION_BIT(TIER) |
                                   CLIENT_OPTION_BIT(SCOPE) | CLIENT_OPTION_BIT(AUDIENCE) |
                                   CLIENT_OPTION_BIT(TOKEN_TTL) | CLIENT_OPTION_BIT(JSON),
                               1, &arguments, &status))
        return status;
    if (arguments.name == NULL && arguments.tier == NULL && arguments.scope == NULL &&
        arguments.audiences == NULL && arguments.token_ttl == NULL)
        return cli_usage(command, "nothing to change was given");

    return client_act(&arguments, update);
}

/* The commands that take an id and nothing else. */
static int run_on_id(const struct cli_command *command, int argc, char **argv,
                     bool (*act)(PGconn *connection, const struct client_arguments *arguments,
                                 struct failure *failure))
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv, CLIENT_OPTION_BIT(JSON), 1, &arguments,
                               &status))
        return status;
    return client_act(&arguments, act);
}

int client_run_disable(const struct cli_command *command, int argc, char **argv)
{
    return run_on_id(command, argc, argv, disable);
}

int client_run_enable(const struct cli_command *command, int argc, char **argv)
{
    return run_on_id(command, argc, argv, enable);
}

int client_run_delete(const struct cli_command *command, int argc, char **argv)
{
    return run_on_id(command, argc, argv, delete_client);
}
