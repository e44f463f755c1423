/* The arguments of `jotd client`, checked, and the commands that take them. */
#ifndef AUTH_COMMAND_CLIENT_H
#define AUTH_COMMAND_CLIENT_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>

#include "auth/client/scope.h"
#include "auth/command/cli.h"
#include "auth/command/command.h"
#include "common/attributes.h"

#define CLIENT_NAME_MAX      200 /* characters */
#define CLIENT_AUDIENCE_MAX  512 /* bytes */
#define CLIENT_AUDIENCES_MAX 16

enum client_option {
    CLIENT_OPTION_ID = ADMIN_FIRST_OPTION,
    CLIENT_OPTION_NAME,
    CLIENT_OPTION_TIER,
    CLIENT_OPTION_SCOPE,
    CLIENT_OPTION_AUDIENCE,
    CLIENT_OPTION_TOKEN_TTL,
    CLIENT_OPTION_OVERLAP,
    CLIENT_OPTION_LIMIT,
    CLIENT_OPTION_JSON,
};

/* For sets of options. */
#define CLIENT_OPTION_BIT(option) (1U << (CLIENT_OPTION_##option - ADMIN_FIRST_OPTION))

/* What was not given is NULL. Numbers are kept as text: that is how PostgreSQL gets them. */
struct client_arguments {
    const char *id; /* of --id, or the argument */
    const char *secret_id;
    const char *name;
    const char *tier;
    const char *scope;     /* without repeated tokens; empty: none */
    const char *audiences; /* separated by spaces; empty: none */
    const char *token_ttl; /* 0: the server's default */
    const char *overlap;
    const char *limit;
    bool json;

    char scope_text[SCOPE_MAX + 1];
    char audiences_text[CLIENT_AUDIENCES_MAX * (CLIENT_AUDIENCE_MAX + 1)];
    int audience_count;
};

/* Reads the `allowed` options and so many of the arguments ID and SECRET_ID. False with the exit
 * status when the command ends here. */
MUST_USE bool client_arguments_read(const struct cli_command *command, int argc, char **argv,
                                    unsigned allowed, int takes, struct client_arguments *arguments,
                                    int *status);

/* Connects, calls `act`, and says why when either fails. Returns the exit status. */
int client_act(const struct client_arguments *arguments,
               bool (*act)(PGconn *connection, const struct client_arguments *arguments,
                           struct failure *failure));

/* The columns of a client as these commands select them. */
#define CLIENT_COLUMNS                                                                             \
    "client_id, name, tier, enabled, array_to_string(scopes, ' ') AS scope,"                       \
    " array_to_string(audiences, ' ') AS audiences, token_ttl, " ADMIN_TIME(                       \
        "created_at") " AS created_at, " ADMIN_TIME("updated_at") " AS updated_at"

enum client_column {
    CLIENT_COLUMN_ID,
    CLIENT_COLUMN_NAME,
    CLIENT_COLUMN_TIER,
    CLIENT_COLUMN_ENABLED,
    CLIENT_COLUMN_SCOPE,
    CLIENT_COLUMN_AUDIENCES,
    CLIENT_COLUMN_TOKEN_TTL,
    CLIENT_COLUMN_CREATED_AT,
    CLIENT_COLUMN_UPDATED_AT,
};

/* A row of CLIENT_COLUMNS as a JSON object, and its audiences as an array. */
json_t *client_json(const PGresult *result, int row);
json_t *client_audiences_json(const PGresult *result, int row);

/* The secrets of a client, newest first, and all of these rows as a JSON array. */
enum { SECRET_ID, SECRET_CREATED_AT, SECRET_EXPIRES_AT, SECRET_IS_LIVE };
PGresult *client_secrets(PGconn *connection, const char *id, struct failure *failure);
json_t *client_secrets_json(const PGresult *secrets);

/* Whether there is such a tier (NULL counts as one); the reason lists those that there are. */
MUST_USE bool client_check_tier(PGconn *connection, const char *tier, struct failure *failure);

/* Fills `failure` for an id that is not there. False. */
bool client_fail_unknown(const char *id, struct failure *failure);

/* The command functions of struct cli_command. */
int client_run_create(const struct cli_command *command, int argc, char **argv);
int client_run_revoke_secret(const struct cli_command *command, int argc, char **argv);
int client_run_rotate(const struct cli_command *command, int argc, char **argv);
int client_run_list(const struct cli_command *command, int argc, char **argv);
int client_run_show(const struct cli_command *command, int argc, char **argv);
int client_run_update(const struct cli_command *command, int argc, char **argv);
int client_run_disable(const struct cli_command *command, int argc, char **argv);
int client_run_enable(const struct cli_command *command, int argc, char **argv);
int client_run_delete(const struct cli_command *command, int argc, char **argv);

#endif
