#include "auth/command/database.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ACTOR_PREFIX "command:"
#define ACTOR_SIZE   128

/* The operating system's user, as the audit log names who ran a command. */
static void name_actor(char actor[ACTOR_SIZE])
{
    const struct passwd *account = getpwuid(getuid());
    char *at = actor + sizeof(ACTOR_PREFIX) - 1;

    if (account != NULL)
        snprintf(actor, ACTOR_SIZE, ACTOR_PREFIX "%s", account->pw_name);
    else
        snprintf(actor, ACTOR_SIZE, ACTOR_PREFIX "%lu", (unsigned long)getuid());
    for (; *at != '\0'; ++at) {
        if (*at < '!' || *at > '~')
            *at = '?';
    }
}

static bool set_actor(PGconn *connection, struct store_failure *failure)
{
    char actor[ACTOR_SIZE];
    const char *const values[] = {actor};
    PGresult *result;

    name_actor(actor);
    result =
        store_query(connection, "SELECT set_config('jotd.actor', $1, false)", 1, values, failure);
    PQclear(result);
    return result != NULL;
}

PGconn *database_connect(struct store_failure *failure)
{
    struct settings settings;
    PGconn *connection = NULL;

    failure->kind = STORE_UNAVAILABLE;
    failure->pointer[0] = '\0';
    if (settings_load(&settings, SETTINGS_NEED_DATABASE, &failure->why))
        connection =
            store_connect(settings.database_url, DATABASE_APPLICATION, true, &failure->why);
    settings_dispose(&settings);
    if (connection == NULL || set_actor(connection, failure))
        return connection;
    PQfinish(connection);
    return NULL;
}

int database_fail(const struct cli_command *command, const struct store_failure *failure,
                  const char *hint)
{
    struct failure told = failure->why;

    if (failure->kind == STORE_NOT_FOUND && strcmp(failure->pointer, "/organization") == 0)
        failure_set(&told, "%.400s: `jotd organization list` shows them", failure->why.reason);
    if (failure->kind == STORE_INVALID)
        return cli_usage(command, "%s", told.reason);
    if (hint != NULL && (failure->kind == STORE_CONFLICT ||
                         (failure->kind == STORE_NOT_FOUND && *failure->pointer == '\0')))
        failure_set(&told, "%.400s: %s", failure->why.reason, hint);
    return cli_fail(&told);
}
