/* `jotd client create`, `rotate` and `revoke-secret`: secrets are made, shown once, stored as
 * digests, and ended. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "auth/client/client_cache.h"
#include "auth/client/secret.h"
#include "auth/command/client.h"

#define MADE_ID_LENGTH  20
#define OVERLAP_DEFAULT "86400" /* seconds */

/* Of 36 characters: bytes past the last multiple of 36 would favour some, so they are left out. */
static bool make_id(char id[MADE_ID_LENGTH + 1])
{
    static const char characters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t length = 0;
    unsigned char byte;

    while (length != MADE_ID_LENGTH) {
        if (RAND_bytes(&byte, 1) != 1)
            return false;
        if (byte < 252)
            id[length++] = characters[byte % 36];
    }
    id[length] = '\0';
    return true;
}

/* A secret that a command has made, and what it shows beside it. */
struct made {
    char secret[SECRET_LENGTH + 1];
    struct secret_digest digest;
    PGresult *client; /* a row of CLIENT_COLUMNS */
    PGresult *id;     /* of the secret */
    PGresult *old;    /* the secrets that the client had; NULL: it is new */
};

static bool make_secret(struct made *made, struct failure *failure)
{
    *made = (struct made){0};
    if (!secret_make(made->secret))
        return failure_set(failure, "the system gives no random bytes");
    secret_digest(slice_of(made->secret), &made->digest);
    return true;
}

static void dispose(struct made *made)
{
    PQclear(made->client);
    PQclear(made->id);
    PQclear(made->old);
    OPENSSL_cleanse(made->secret, sizeof(made->secret));
}

/* The digest travels as bytes: PostgreSQL never sees more. */
static bool store(PGconn *connection, const char *client_id, struct made *made,
                  struct failure *failure)
{
    const char *values[] = {client_id, (const char *)made->digest.bytes};
    const int lengths[] = {0, SECRET_DIGEST_LENGTH}, formats[] = {0, 1};

    made->id = admin_check(connection,
                           PQexecParams(connection,
                                        "INSERT INTO client_secrets (client_id, digest)"
                                        " VALUES ($1, $2) RETURNING secret_id",
                                        2, NULL, values, lengths, formats, 0),
                           failure);
    return made->id != NULL;
}

static json_t *made_json(const struct made *made)
{
    const PGresult *client = made->client;
    json_t *object = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "client_id",
                               PQgetvalue(client, 0, CLIENT_COLUMN_ID), "client_secret",
                               made->secret, "secret_id", PQgetvalue(made->id, 0, 0), "name",
                               PQgetvalue(client, 0, CLIENT_COLUMN_NAME), "tier",
                               PQgetvalue(client, 0, CLIENT_COLUMN_TIER), "scope",
                               PQgetvalue(client, 0, CLIENT_COLUMN_SCOPE), "audiences",
                               client_audiences_json(client, 0), "token_ttl",
                               admin_json_number(client, 0, CLIENT_COLUMN_TOKEN_TTL));

    if (made->old != NULL)
        json_object_set_new(object, "old_secrets", client_secrets_json(made->old));
    return object;
}

static bool print_text(const struct made *made)
{
    bool printed = printf("client_id: %s\nclient_secret: %s\n",
                          PQgetvalue(made->client, 0, CLIENT_COLUMN_ID), made->secret) > 0;

    for (int row = 0; row < PQntuples(made->old); ++row)
        printf("old_secret: %s %s %s\n", PQgetvalue(made->old, row, SECRET_ID),
               *PQgetvalue(made->old, row, SECRET_IS_LIVE) == 't' ? "ends" : "has ended",
               PQgetvalue(made->old, row, SECRET_EXPIRES_AT));
    return printed;
}

static bool print_made(const struct made *made, bool json, struct failure *failure)
{
    struct failure unused;
    bool printed = json ? admin_print_json(made_json(made), &unused) : print_text(made);

    if (!printed || fflush(stdout) != 0)
        return failure_set(
            failure,
            "the secret could not be printed and is lost: `jotd client rotate %s` makes "
            "another",
            PQgetvalue(made->client, 0, CLIENT_COLUMN_ID));
    if (!json)
        fputs("The secret is shown this once: keep it now.\n", stderr);
    return true;
}

/* jotd client create */

static bool insert_client(PGconn *connection, const struct client_arguments *arguments,
                          struct made *made, struct failure *failure)
{
    const char *const values[] = {arguments->id,
                                  arguments->name,
                                  arguments->tier != NULL ? arguments->tier : "free",
                                  arguments->scope != NULL ? arguments->scope : "",
                                  arguments->audiences != NULL ? arguments->audiences : "",
                                  arguments->token_ttl};

    made->client = admin_query(
        connection,
        "INSERT INTO clients (client_id, name, tier, scopes, audiences, token_ttl)"
        " VALUES ($1, $2, $3, string_to_array($4, ' '), string_to_array($5, ' '),"
        " nullif($6::int, 0)) ON CONFLICT (client_id) DO NOTHING RETURNING " CLIENT_COLUMNS,
        6, values, failure);
    if (made->client != NULL && PQntuples(made->client) == 0)
        return failure_set(failure, "there is a client %s already: choose another --id",
                           arguments->id);
    return made->client != NULL;
}

/* What was begun and not committed ends with the connection. */
static bool create(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    struct made made = {0};
    bool created = client_check_tier(connection, arguments->tier, failure) &&
                   make_secret(&made, failure) && admin_execute(connection, "BEGIN", failure) &&
                   insert_client(connection, arguments, &made, failure) &&
                   store(connection, arguments->id, &made, failure) &&
                   admin_execute(connection, "COMMIT", failure) &&
                   print_made(&made, arguments->json, failure);

    dispose(&made);
    return created;
}

int client_run_create(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    char made_id[MADE_ID_LENGTH + 1];
    struct failure failure;
    int status;

    if (!client_arguments_read(command, argc, argv,
                               CLIENT_OPTION_BIT(ID) | CLIENT_OPTION_BIT(NAME) |
                                   CLIENT_OPTION_BIT(TIER) | CLIENT_OPTION_BIT(SCOPE) |
                                   CLIENT_OPTION_BIT(AUDIENCE) | CLIENT_OPTION_BIT(TOKEN_TTL) |
                                   CLIENT_OPTION_BIT(JSON),
                               0, &arguments, &status))
        return status;
    if (arguments.name == NULL)
        return cli_usage(command, "--name is missing");
    if (arguments.id == NULL) {
        if (!make_id(made_id)) {
            failure_set(&failure, "the system gives no random bytes");
            return cli_fail(&failure);
        }
        arguments.id = made_id;
    }

    return client_act(&arguments, create);
}

/* jotd client rotate */

/* Locks the client, so that rotations of one client come one after the other. NULL on failure. */
static PGresult *lock_client(PGconn *connection, const char *id, struct failure *failure)
{
    PGresult *client =
        admin_query(connection,
                    "SELECT " CLIENT_COLUMNS " FROM clients WHERE client_id = $1 FOR NO KEY UPDATE",
                    1, &id, failure);

    if (client != NULL && PQntuples(client) == 0) {
        client_fail_unknown(id, failure);
        PQclear(client);
        return NULL;
    }
    return client;
}

static bool run_statement(PGconn *connection, const char *sql, int count, const char *const *values,
                          struct failure *failure)
{
    PGresult *result = admin_query(connection, sql, count, values, failure);

    PQclear(result);
    return result != NULL;
}

/* Those that ended go, and the oldest of too many; the others end. */
static bool end_old(PGconn *connection, const struct client_arguments *arguments,
                    struct failure *failure)
{
    const char *values[] = {arguments->id,
                            arguments->overlap != NULL ? arguments->overlap : OVERLAP_DEFAULT};
    char kept[16];
    const char *const keep_values[] = {arguments->id, kept};

    snprintf(kept, sizeof(kept), "%d", CLIENT_MAX_SECRETS - 1);
    return run_statement(connection,
                         "DELETE FROM client_secrets WHERE client_id = $1 AND digest NOT IN"
                         " (SELECT digest FROM client_secrets WHERE client_id = $1"
                         " AND (expires_at IS NULL OR expires_at > now())"
                         " ORDER BY created_at DESC LIMIT $2::int)",
                         2, keep_values, failure) &&
           run_statement(connection,
                         "UPDATE client_secrets SET expires_at ="
                         " least(expires_at, now() + $2::bigint * interval '1 second')"
                         " WHERE client_id = $1",
                         2, values, failure);
}

static bool rotate(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    struct made made = {0};
    bool rotated = make_secret(&made, failure) && admin_execute(connection, "BEGIN", failure) &&
                   (made.client = lock_client(connection, arguments->id, failure)) != NULL &&
                   end_old(connection, arguments, failure) &&
                   (made.old = client_secrets(connection, arguments->id, failure)) != NULL &&
                   store(connection, arguments->id, &made, failure) &&
                   admin_execute(connection, "COMMIT", failure) &&
                   print_made(&made, arguments->json, failure);

    dispose(&made);
    return rotated;
}

int client_run_rotate(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv,
                               CLIENT_OPTION_BIT(OVERLAP) | CLIENT_OPTION_BIT(JSON), 1, &arguments,
                               &status))
        return status;
    return client_act(&arguments, rotate);
}

/* jotd client revoke-secret */

/* NULL on failure. */
static PGresult *delete_secret(PGconn *connection, const struct client_arguments *arguments,
                               struct failure *failure)
{
    const char *const values[] = {arguments->id, arguments->secret_id};
    PGresult *deleted = admin_query(connection,
                                    "DELETE FROM client_secrets WHERE client_id = $1"
                                    " AND secret_id = $2 RETURNING secret_id",
                                    2, values, failure);

    if (deleted == NULL || PQntuples(deleted) != 0)
        return deleted;
    PQclear(deleted);
    failure_set(failure, "the client %s has no such secret: `jotd client show %s` lists their ids",
                arguments->id, arguments->id);
    return NULL;
}

static bool has_live(const PGresult *secrets)
{
    for (int row = 0; row != PQntuples(secrets); ++row) {
        if (*PQgetvalue(secrets, row, SECRET_IS_LIVE) == 't')
            return true;
    }
    return false;
}

static bool print_left(const struct client_arguments *arguments, const PGresult *left,
                       struct failure *failure)
{
    bool printed = true;

    if (!has_live(left))
        fprintf(stderr,
                "The client has no secret any more, and gets no token: `jotd client rotate %s` "
                "makes one.\n",
                arguments->id);
    if (arguments->json)
        printed = admin_print_json(json_pack("{s:s, s:o}", "client_id", arguments->id, "secrets",
                                             client_secrets_json(left)),
                                   failure);
    else
        printf("revoked %s\n", arguments->secret_id);
    return printed;
}

static bool revoke_secret(PGconn *connection, const struct client_arguments *arguments,
                          struct failure *failure)
{
    PGresult *client = NULL, *deleted = NULL, *left = NULL;
    bool revoked = admin_execute(connection, "BEGIN", failure) &&
                   (client = lock_client(connection, arguments->id, failure)) != NULL &&
                   (deleted = delete_secret(connection, arguments, failure)) != NULL &&
                   (left = client_secrets(connection, arguments->id, failure)) != NULL &&
                   admin_execute(connection, "COMMIT", failure) &&
                   print_left(arguments, left, failure);

    PQclear(left);
    PQclear(deleted);
    PQclear(client);
    return revoked;
}

int client_run_revoke_secret(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv, CLIENT_OPTION_BIT(JSON), 2, &arguments,
                               &status))
        return status;
    return client_act(&arguments, revoke_secret);
}
