/* `jotd client list` and `show`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/client.h"

json_t *client_audiences_json(const PGresult *result, int row)
{
    const char *rest = PQgetvalue(result, row, CLIENT_COLUMN_AUDIENCES);
    json_t *audiences = json_array();

    while (*rest != '\0') {
        size_t length = strcspn(rest, " ");

        json_array_append_new(audiences, json_stringn(rest, length));
        rest += length + (rest[length] == ' ');
    }
    return audiences;
}

json_t *client_json(const PGresult *result, int row)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:b, s:s, s:s}", "client_id",
                     PQgetvalue(result, row, CLIENT_COLUMN_ID), "name",
                     PQgetvalue(result, row, CLIENT_COLUMN_NAME), "tier",
                     PQgetvalue(result, row, CLIENT_COLUMN_TIER), "scope",
                     PQgetvalue(result, row, CLIENT_COLUMN_SCOPE), "audiences",
                     client_audiences_json(result, row), "token_ttl",
                     admin_json_number(result, row, CLIENT_COLUMN_TOKEN_TTL), "enabled",
                     *PQgetvalue(result, row, CLIENT_COLUMN_ENABLED) == 't', "created_at",
                     PQgetvalue(result, row, CLIENT_COLUMN_CREATED_AT), "updated_at",
                     PQgetvalue(result, row, CLIENT_COLUMN_UPDATED_AT));
}

#define LIST_END                                                                                   \
    " FROM clients WHERE $1::text IS NULL OR tier = $1"                                            \
    " ORDER BY clients.created_at DESC, client_id LIMIT nullif($2::bigint, 0)"

static bool list(PGconn *connection, const struct client_arguments *arguments,
                 struct failure *failure)
{
    const char *const values[] = {arguments->tier,
                                  arguments->limit != NULL ? arguments->limit : "100"};
    const char *sql = arguments->json
                          ? "SELECT " CLIENT_COLUMNS LIST_END
                          : "SELECT client_id, name, tier, CASE WHEN enabled THEN 'yes' ELSE 'no'"
                            " END AS enabled, coalesce(nullif(array_to_string(scopes, ' '), ''),"
                            " '-') AS scope, " ADMIN_TIME("created_at") " AS created" LIST_END;
    PGresult *result;
    bool printed = true;

    if (!client_check_tier(connection, arguments->tier, failure) ||
        (result = admin_query(connection, sql, 2, values, failure)) == NULL)
        return false;
    if (arguments->json)
        printed = admin_print_json_rows(result, client_json, failure);
    else
        admin_print_table(result);
    PQclear(result);
    return printed;
}

int client_run_list(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv,
                               CLIENT_OPTION_BIT(TIER) | CLIENT_OPTION_BIT(LIMIT) |
                                   CLIENT_OPTION_BIT(JSON),
                               0, &arguments, &status))
        return status;
    return client_act(&arguments, list);
}

json_t *client_secrets_json(const PGresult *secrets)
{
    json_t *array = json_array();

    for (int row = 0; row != PQntuples(secrets); ++row)
        json_array_append_new(array,
                              json_pack("{s:s, s:s, s:s?}", "secret_id",
                                        PQgetvalue(secrets, row, SECRET_ID), "created_at",
                                        PQgetvalue(secrets, row, SECRET_CREATED_AT), "expires_at",
                                        PQgetisnull(secrets, row, SECRET_EXPIRES_AT)
                                            ? NULL
                                            : PQgetvalue(secrets, row, SECRET_EXPIRES_AT)));
    return array;
}

static bool print_json(const PGresult *client, const PGresult *secrets, struct failure *failure)
{
    json_t *object = client_json(client, 0);

    json_object_set_new(object, "secrets", client_secrets_json(secrets));
    return admin_print_json(object, failure);
}

static void print_text(const PGresult *client, const PGresult *secrets)
{
    static const struct {
        const char *label;
        enum client_column column;
        const char *empty;
    } lines[] = {
        {"client_id", CLIENT_COLUMN_ID, ""},
        {"name", CLIENT_COLUMN_NAME, ""},
        {"tier", CLIENT_COLUMN_TIER, ""},
        {"scope", CLIENT_COLUMN_SCOPE, "none"},
        {"audiences", CLIENT_COLUMN_AUDIENCES, "the issuer"},
        {"token_ttl", CLIENT_COLUMN_TOKEN_TTL, "the server's default"},
        {"created_at", CLIENT_COLUMN_CREATED_AT, ""},
        {"updated_at", CLIENT_COLUMN_UPDATED_AT, ""},
    };

    for (size_t i = 0; i != COUNT_OF(lines); ++i) {
        const char *value = PQgetvalue(client, 0, lines[i].column);

        printf("%-12s%s\n", lines[i].label, *value != '\0' ? value : lines[i].empty);
    }
    printf("%-12s%s\n", "enabled",
           *PQgetvalue(client, 0, CLIENT_COLUMN_ENABLED) == 't' ? "yes" : "no");
    for (int row = 0; row != PQntuples(secrets); ++row) {
        const char *expires_at = PQgetvalue(secrets, row, SECRET_EXPIRES_AT);
        bool live = *PQgetvalue(secrets, row, SECRET_IS_LIVE) == 't';

        printf("%-12s%s made %s, %s %s\n", "secret", PQgetvalue(secrets, row, SECRET_ID),
               PQgetvalue(secrets, row, SECRET_CREATED_AT), live ? "ends" : "ended",
               *expires_at != '\0' ? expires_at : "never");
    }
}

PGresult *client_secrets(PGconn *connection, const char *id, struct failure *failure)
{
    return admin_query(connection,
                       "SELECT secret_id, " ADMIN_TIME("created_at") ", " ADMIN_TIME(
                           "expires_at") ", expires_at IS NULL OR expires_at > now()"
                                         " FROM client_secrets s WHERE client_id = $1"
                                         " ORDER BY s.created_at DESC, secret_id",
                       1, &id, failure);
}

static bool show(PGconn *connection, const struct client_arguments *arguments,
                 struct failure *failure)
{
    PGresult *secrets = NULL,
             *client = admin_query(connection,
                                   "SELECT " CLIENT_COLUMNS " FROM clients WHERE client_id = $1", 1,
                                   &arguments->id, failure);
    bool shown = false;

    if (client != NULL && PQntuples(client) == 0)
        client_fail_unknown(arguments->id, failure);
    else if (client != NULL)
        secrets = client_secrets(connection, arguments->id, failure);
    if (secrets != NULL && arguments->json) {
        shown = print_json(client, secrets, failure);
    } else if (secrets != NULL) {
        print_text(client, secrets);
        shown = true;
    }
    PQclear(secrets);
    PQclear(client);
    return shown;
}

int client_run_show(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv, CLIENT_OPTION_BIT(JSON), 1, &arguments,
                               &status))
        return status;
    return client_act(&arguments, show);
}
