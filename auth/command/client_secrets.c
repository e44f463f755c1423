/* `jotd client create`, `rotate` and `revoke-secret`: make a secret and show it once, or end
 * one. */
#include <stdio.h>
#include <string.h>

#include "auth/command/administrator.h"
#include "auth/command/client_json.h"
#include "auth/command/client_options.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/client_store.h"

static json_t *made_json(const struct client_made *made, const struct client_values *client)
{
    json_t *object = json_pack("{s:s, s:s, s:s}", "client_id", client->client_id, "client_secret",
                               made->secret, "secret_id", made->secret_id);
    json_t *rest = client_json(client);

    json_object_update_missing(object, rest);
    json_decref(rest);
    if (made->old != NULL)
        json_object_set_new(object, "old_secrets", secret_store_documents(made->old));
    return object;
}

static bool print_text(const struct client_made *made, const struct client_values *client)
{
    bool printed =
        printf("client_id: %s\nclient_secret: %s\n", client->client_id, made->secret) > 0;

    for (int row = 0; row < PQntuples(made->old); ++row) {
        struct secret_values old = secret_store_values(made->old, (size_t)row);

        printf("old_secret: %s %s %s\n", old.secret_id, old.is_live ? "ends" : "has ended",
               old.expires_at);
    }
    return printed;
}

static bool print_made(const struct client_made *made, bool json, struct failure *failure)
{
    struct client_values client = client_store_values(made->client, 0);
    struct failure unused;
    bool printed = json ? print_json(made_json(made, &client), &unused) : print_text(made, &client);

    if (!printed || fflush(stdout) != 0)
        return failure_set(failure,
                           "the secret could not be printed and is lost: `jotd client rotate %s` "
                           "makes another",
                           client.client_id);
    if (!json)
        fputs("The secret is shown this once: keep it now.\n", stderr);
    return true;
}

/* create */

struct create_values {
    const char *id;
    struct client_options client;
    bool admin;
    bool json;
};

#define AT(member) offsetof(struct create_values, member)

static const struct cli_option create_options[] = {
    {.name = "name",
     .kind = CLI_TEXT,
     .offset = AT(client.name),
     .value = "NAME",
     .is_needed = true,
     .help = "a name for people"},
    {.name = "id",
     .kind = CLI_TEXT,
     .offset = AT(id),
     .value = "ID",
     .help = "1 to 64 characters of A-Z a-z 0-9 . _ -; default: 20 random ones"},
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = AT(client.tier),
     .value = "TIER",
     .help = "its tier (jotd tier list); default: free"},
    {.name = "scope",
     .kind = CLI_TEXT,
     .offset = AT(client.scope),
     .value = "\"A B\"",
     .help = "the scope that it may ask for; default: none"},
    {.name = "audience",
     .kind = CLI_LIST,
     .offset = AT(client.audiences),
     .value = "URI",
     .help = "a resource that it may ask tokens for; repeatable; default: the issuer"},
    {.name = "token-ttl",
     .kind = CLI_NUMBER,
     .offset = AT(client.token_ttl),
     .value = "SECONDS",
     .max = CLIENT_MAX_TTL_S,
     .help = "lifetime of its tokens, up to 86400; default: 0, as its tier\n"
             "says, else as the server does"},
    CLIENT_OPTIONS(struct create_values),
    {.name = "admin",
     .kind = CLI_FLAG,
     .offset = AT(admin),
     .help = "an administrator's: the scopes jotd:read, jotd:write and jotd:admin,\n"
             "and the audience <JOTD_ISSUER>/admin"},
    {.name = "json", .kind = CLI_FLAG, .offset = AT(json), .help = "print a JSON object"},
    {0},
};

static bool create(const struct create_values *values, const struct client_change *change,
                   struct store_failure *failure)
{
    PGconn *connection = database_connect(failure);
    struct client_made made = {0};
    bool created =
        connection != NULL &&
        client_store_create(connection, NULL, values->id, change, NULL, &made, failure) &&
        print_made(&made, values->json, &failure->why);

    client_store_forget(&made);
    PQfinish(connection);
    return created;
}

static int run_create(const struct cli_command *command, const void *given)
{
    const struct create_values *values = given;
    struct client_change change = client_options_change(&values->client);
    struct store_failure failure = {.kind = STORE_UNAVAILABLE, .pointer = ""};
    struct administrator administrator;

    if (values->admin && (change.scope != NULL || change.audience_count != 0))
        return cli_usage(command, "--admin gives the scope and the audience: leave --scope and "
                                  "--audience out");
    if (values->admin && !administrator_prepare(&administrator, &change, &failure.why))
        return database_fail(command, &failure, NULL);
    if ((values->id != NULL && !client_store_check_id(values->id, &failure)) ||
        !client_change_check(&change, &failure))
        return database_fail(command, &failure, NULL);
    if (!create(values, &change, &failure))
        return database_fail(command, &failure, "choose another --id");
    if (values->admin && !values->json)
        administrator_tell(&administrator);
    return CLI_DONE;
}

const struct cli_command command_client_create = {
    .path = "jotd client create",
    .summary = "make a client and its secret",
    .help = "Makes a client and prints its id and secret. The secret is shown this once: the\n"
            "database holds only its SHA-256.",
    .options = create_options,
    .notes = "Example: jotd client create --name billing --scope \"read write\"",
    .values_size = sizeof(struct create_values),
    .run = run_create,
};

/* rotate */

struct rotate_values {
    const char *id;
    struct cli_number overlap;
    bool json;
};

static const struct cli_option rotate_options[] = {
    {.name = "overlap",
     .kind = CLI_NUMBER,
     .offset = offsetof(struct rotate_values, overlap),
     .value = "SECONDS",
     .max = CLIENT_STORE_OVERLAP_MAX_S,
     .help = "up to 31536000; default: 86400, a day; 0 ends the old ones now"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct rotate_values, json),
     .help = "print a JSON object"},
    {0},
};

static bool rotate(const struct rotate_values *values, struct store_failure *failure)
{
    PGconn *connection = database_connect(failure);
    long long overlap_s = values->overlap.is_given ? values->overlap.value : CLIENT_STORE_OVERLAP_S;
    struct client_made made = {0};
    bool rotated =
        connection != NULL &&
        client_store_rotate(connection, NULL, values->id, overlap_s, NULL, &made, failure) &&
        print_made(&made, values->json, &failure->why);

    client_store_forget(&made);
    PQfinish(connection);
    return rotated;
}

static int run_rotate(const struct cli_command *command, const void *given)
{
    const struct rotate_values *values = given;
    struct store_failure failure = {.kind = STORE_UNAVAILABLE, .pointer = ""};

    return client_store_check_id(values->id, &failure) && rotate(values, &failure)
               ? CLI_DONE
               : database_fail(command, &failure, CLIENT_OPTIONS_HINT);
}

const struct cli_command command_client_rotate = {
    .path = "jotd client rotate",
    .summary = "give a client a new secret",
    .help = "Makes a new secret and prints it, this once. The old one works until the overlap\n"
            "ends; that time is printed too. A client has at most four secrets: a fifth ends "
            "the\n"
            "oldest at once.",
    .options = rotate_options,
    .arguments = {{"ID", offsetof(struct rotate_values, id), "the ID of a client is missing"}},
    .values_size = sizeof(struct rotate_values),
    .run = run_rotate,
};

/* revoke-secret */

struct revoke_values {
    const char *id, *secret_id;
    bool json;
};

static const struct cli_option revoke_options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct revoke_values, json),
     .help = "print the remaining secrets as a JSON object"},
    {0},
};

static bool has_live(const PGresult *secrets)
{
    for (int row = 0; row != PQntuples(secrets); ++row) {
        if (secret_store_values(secrets, (size_t)row).is_live)
            return true;
    }
    return false;
}

static bool print_left(const struct revoke_values *values, const PGresult *left,
                       struct failure *failure)
{
    if (!has_live(left))
        fprintf(stderr,
                "The client has no secret any more, and gets no token: `jotd client rotate %s` "
                "makes one.\n",
                values->id);
    if (values->json)
        return print_json(json_pack("{s:s, s:o}", "client_id", values->id, "secrets",
                                    secret_store_documents(left)),
                          failure);
    printf("revoked %s\n", values->secret_id);
    return true;
}

static bool revoke(const struct revoke_values *values, struct store_failure *failure)
{
    PGconn *connection = database_connect(failure);
    PGresult *left = connection != NULL ? client_store_revoke_secret(connection, NULL, values->id,
                                                                     values->secret_id, failure)
                                        : NULL;
    bool revoked = left != NULL && print_left(values, left, &failure->why);

    PQclear(left);
    PQfinish(connection);
    return revoked;
}

static int run_revoke(const struct cli_command *command, const void *given)
{
    const struct revoke_values *values = given;
    struct store_failure failure = {.kind = STORE_UNAVAILABLE, .pointer = ""};

    if (client_store_check_id(values->id, &failure) && revoke(values, &failure))
        return CLI_DONE;
    if (failure.kind == STORE_NOT_FOUND && strcmp(failure.pointer, "/secret_id") == 0)
        failure_set(&failure.why,
                    "the client %s has no such secret: `jotd client show %s` lists "
                    "their ids",
                    values->id, values->id);
    return database_fail(command, &failure, CLIENT_OPTIONS_HINT);
}

const struct cli_command command_client_revoke_secret = {
    .path = "jotd client revoke-secret",
    .summary = "end one secret of a client now",
    .help = "Removes the secret with this id (see jotd client show ID). The client's other\n"
            "secrets, and the tokens that it already has, stay valid.",
    .options = revoke_options,
    .arguments = {{"ID", offsetof(struct revoke_values, id), "the ID of a client is missing"},
                  {"SECRET_ID", offsetof(struct revoke_values, secret_id),
                   "the id of a secret is missing: `jotd client show ID` has it"}},
    .values_size = sizeof(struct revoke_values),
    .run = run_revoke,
};
