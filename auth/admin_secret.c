/* `jotd client create` and `rotate`: where secrets are made, shown once, and stored as digests. */
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "auth/admin_client.h"
#include "auth/client.h"
#include "auth/secret.h"

#define MADE_ID_LENGTH 20

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

static bool make_secret(char secret[SECRET_LENGTH + 1], struct secret_digest *digest,
                        struct failure *failure)
{
    if (!secret_make(secret))
        return failure_set(failure, "the system gives no random bytes");
    secret_digest(slice_of(secret), digest);
    return true;
}

/* One statement whose last parameter is the digest, as bytes: PostgreSQL never sees more. */
static PGresult *query_with_digest(PGconn *connection, const char *sql, int count,
                                   const char **values, const struct secret_digest *digest,
                                   struct failure *failure)
{
    int lengths[8] = {0}, formats[8] = {0};

    values[count - 1] = (const char *)digest->bytes;
    lengths[count - 1] = SECRET_DIGEST_LENGTH;
    formats[count - 1] = 1;
    return admin_check(connection,
                       PQexecParams(connection, sql, count, NULL, values, lengths, formats, 0),
                       failure);
}

/* `client` is a row of CLIENT_COLUMNS. */
static bool print_credentials(const PGresult *client, const char *secret, bool json,
                              struct failure *failure)
{
    const char *id = PQgetvalue(client, 0, CLIENT_COLUMN_ID);
    struct failure unused;
    bool printed;

    if (json)
        printed =
            admin_print_json(json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "client_id", id,
                                       "client_secret", secret, "name",
                                       PQgetvalue(client, 0, CLIENT_COLUMN_NAME), "tier",
                                       PQgetvalue(client, 0, CLIENT_COLUMN_TIER), "scope",
                                       PQgetvalue(client, 0, CLIENT_COLUMN_SCOPE), "audiences",
                                       client_audiences_json(client, 0), "token_ttl",
                                       admin_json_number(client, 0, CLIENT_COLUMN_TOKEN_TTL)),
                             &unused);
    else
        printed = printf("client_id: %s\nclient_secret: %s\n", id, secret) > 0;
    if (!printed || fflush(stdout) != 0)
        return failure_set(
            failure,
            "the secret could not be printed and is lost: `jotd client rotate %s` makes "
            "another",
            id);
    if (!json)
        fputs("The secret is shown this once: keep it now.\n", stderr);
    return true;
}

/* NULL on failure; else the new client's row, of which there is none when the id is taken. */
static PGresult *insert(PGconn *connection, const struct client_arguments *arguments,
                        const struct secret_digest *digest, struct failure *failure)
{
    const char *values[] = {arguments->id,
                            arguments->name,
                            arguments->tier != NULL ? arguments->tier : "free",
                            arguments->scope != NULL ? arguments->scope : "",
                            arguments->audiences != NULL ? arguments->audiences : "",
                            arguments->token_ttl,
                            NULL};

    return query_with_digest(
        connection,
        "WITH client AS (INSERT INTO clients (client_id, name, tier, scopes, audiences, token_ttl)"
        " VALUES ($1, $2, $3, string_to_array($4, ' '), string_to_array($5, ' '),"
        " nullif($6::int, 0)) ON CONFLICT (client_id) DO NOTHING RETURNING *),"
        " secret AS (INSERT INTO client_secrets (client_id, digest)"
        " SELECT client_id, $7 FROM client)"
        " SELECT " CLIENT_COLUMNS " FROM client",
        7, values, digest, failure);
}

static bool create(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    char secret[SECRET_LENGTH + 1];
    struct secret_digest digest;
    PGresult *client = NULL;
    bool created = false;

    if (!client_check_tier(connection, arguments->tier, failure) ||
        !make_secret(secret, &digest, failure))
        return false;
    client = insert(connection, arguments, &digest, failure);
    if (client != NULL && PQntuples(client) == 0)
        failure_set(failure, "there is a client %s already: choose another --id", arguments->id);
    else if (client != NULL)
        created = print_credentials(client, secret, arguments->json, failure);
    PQclear(client);
    OPENSSL_cleanse(secret, sizeof(secret));
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
                               false, &arguments, &status))
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

static bool replace_secrets(PGconn *connection, const struct client_arguments *arguments,
                            const struct secret_digest *digest, struct failure *failure)
{
    const char *values[] = {arguments->id, arguments->overlap != NULL ? arguments->overlap : "0"};
    const char *new_values[] = {arguments->id, NULL};
    char kept[16];
    const char *const keep_values[] = {arguments->id, kept};
    PGresult *result;

    snprintf(kept, sizeof(kept), "%d", CLIENT_MAX_SECRETS - 1);
    if (!run_statement(connection,
                       "DELETE FROM client_secrets WHERE client_id = $1 AND digest NOT IN"
                       " (SELECT digest FROM client_secrets WHERE client_id = $1"
                       " AND (expires_at IS NULL OR expires_at > now())"
                       " ORDER BY created_at DESC LIMIT $2::int)",
                       2, keep_values, failure) ||
        !run_statement(connection,
                       "UPDATE client_secrets SET expires_at ="
                       " least(expires_at, now() + $2::bigint * interval '1 second')"
                       " WHERE client_id = $1",
                       2, values, failure))
        return false;
    result = query_with_digest(connection,
                               "INSERT INTO client_secrets (client_id, digest) VALUES ($1, $2)", 2,
                               new_values, digest, failure);
    PQclear(result);
    return result != NULL;
}

/* What was begun and not committed ends with the connection. */
static bool rotate(PGconn *connection, const struct client_arguments *arguments,
                   struct failure *failure)
{
    char secret[SECRET_LENGTH + 1];
    struct secret_digest digest;
    PGresult *client = NULL;
    bool rotated;

    if (!make_secret(secret, &digest, failure))
        return false;
    rotated = admin_execute(connection, "BEGIN", failure) &&
              (client = lock_client(connection, arguments->id, failure)) != NULL &&
              replace_secrets(connection, arguments, &digest, failure) &&
              admin_execute(connection, "COMMIT", failure) &&
              print_credentials(client, secret, arguments->json, failure);
    PQclear(client);
    OPENSSL_cleanse(secret, sizeof(secret));
    return rotated;
}

int client_run_rotate(const struct cli_command *command, int argc, char **argv)
{
    struct client_arguments arguments;
    int status;

    if (!client_arguments_read(command, argc, argv,
                               CLIENT_OPTION_BIT(OVERLAP) | CLIENT_OPTION_BIT(JSON), true,
                               &arguments, &status))
        return status;
    return client_act(&arguments, rotate);
}
