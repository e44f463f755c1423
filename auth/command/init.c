/* `jotd init`: what an installation needs before it can serve and be administered. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "auth/command/administrator.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/key_command.h"
#include "auth/store/client_store.h"
#include "auth/token/key_directory.h"
#include "auth/token/key_file.h"

/* As it does without options. */
static int run_command(const struct cli_command *command)
{
    void *values = calloc(1, command->values_size);
    struct failure failure;
    int status;

    if (values == NULL)
        return failure_set(&failure, "out of memory"), cli_fail(&failure);
    status = command->run(command, values);
    free(values);
    return status;
}

static bool make_key(const struct settings *settings, const void *values, struct failure *failure)
{
    struct failure unreadable; /* or it does not exist yet */
    struct key_set *set = key_directory_load(settings->keys_dir, &unreadable);
    const struct signing_key *signing = set != NULL ? key_set_signing(set, time(NULL)) : NULL;
    struct signing_key key = {.alg = KEY_ES256, .activate_at = time(NULL)};
    bool done = true;

    (void)values;
    if (signing != NULL)
        printf("signing key: %s signs already\n", signing->kid);
    else if ((done =
                  key_file_create(settings->keys_dir, key.alg, key.activate_at, key.kid, failure)))
        printf("signing key: made %s\n", key.kid);
    key_set_release(set);
    return done;
}

static bool make_client(PGconn *connection, struct store_failure *failure)
{
    struct client_change change = {.name = "administrator"};
    struct administrator administrator;
    struct client_made made = {0};
    bool done = administrator_prepare(&administrator, &change, &failure->why) &&
                client_store_create(connection, NULL, NULL, &change, NULL, &made, failure);

    if (done) {
        printf("administrator: made, its secret is shown this once\n"
               "client_id: %s\nclient_secret: %s\n",
               client_store_values(made.client, 0).client_id, made.secret);
        fflush(stdout);
        administrator_tell(&administrator);
    }
    client_store_forget(&made);
    return done;
}

static int make_administrator(const struct cli_command *command)
{
    struct store_failure failure = {.kind = STORE_UNAVAILABLE};
    PGconn *connection = database_connect(&failure);
    bool has = false;
    bool done = connection != NULL && client_store_has_administrator(connection, &has, &failure) &&
                (has || make_client(connection, &failure));

    PQfinish(connection);
    if (done && has)
        puts("administrator: there is one already; `jotd client create --admin` makes another");
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

static int run(const struct cli_command *command, const void *values)
{
    struct administrator administrator;
    struct client_change change = {0};
    struct failure failure;
    int status;

    if (!administrator_prepare(&administrator, &change, &failure)) /* before anything is made */
        return cli_fail(&failure);
    status = run_command(&command_migrate);
    if (status == CLI_DONE)
        status = key_command_run(values, NULL, make_key);
    return status == CLI_DONE ? make_administrator(command) : status;
}

const struct cli_command command_init = {
    .path = "jotd init",
    .summary = "make the schema, a signing key and an administrator, unless they are there",
    .help =
        "Does what `jotd migrate`, `jotd key create` and `jotd client create --admin` do, as far\n"
        "as it has not been done: it may be run again. Needs DATABASE_URL, as the role that\n"
        "owns the database, JOTD_KEYS_DIR and JOTD_ISSUER. The secret of the administrator is\n"
        "printed this once.",
    .run = run,
};
