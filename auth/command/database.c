#include "auth/command/database.h"

#include <string.h>

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
    return connection;
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
