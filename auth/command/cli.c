/* The frame of the subcommands: see cli.h. */
#include "auth/command/cli.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "auth/command/command.h"
#include "auth/migrations.h"

static void print_commands(FILE *out, const char *group, const struct cli_command *commands)
{
    fprintf(out, "Usage: %s COMMAND [options]\n\nCommands:\n", group);
    for (const struct cli_command *command = commands; command->name != NULL; ++command)
        fprintf(out, "  %-10s %s\n", command->name, command->summary);
    fprintf(out, "\n%s COMMAND --help tells more.\n", group);
}

int cli_dispatch(const char *group, const struct cli_command *commands, int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    if (name != NULL && (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)) {
        print_commands(stdout, group, commands);
        return CLI_DONE;
    }
    for (const struct cli_command *command = commands; command->name != NULL; ++command) {
        if (name != NULL && strcmp(name, command->name) == 0)
            return command->run(command, argc - 1, argv + 1);
    }
    if (name != NULL)
        fprintf(stderr, "jotd: unknown command: %s %s\n", group, name);
    print_commands(stderr, group, commands);
    return CLI_USAGE;
}

int cli_fail(const struct failure *failure)
{
    fprintf(stderr, "jotd: %s\n", failure->reason);
    return CLI_FAILED;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list values;

    fputs("jotd: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    /* The first line of a command's help is its usage. */
    fprintf(stderr, "\n%.*s (--help tells more)\n", (int)strcspn(command->help, "\n"),
            command->help);
    return CLI_USAGE;
}

static bool check_schema_version(PGconn *connection, struct failure *failure)
{
    PGresult *result = PQexec(connection, MIGRATIONS_VERSION_SQL);
    bool known = migrations_check_version(result, failure);

    PQclear(result);
    return known;
}

PGconn *cli_connect(const struct settings *settings, bool check_schema, struct failure *failure)
{
    /* What stands before dbname is a default that the URL may set otherwise. */
    const char *const keywords[] = {"fallback_application_name", "connect_timeout",
                                    "target_session_attrs",      "dbname",
                                    "client_encoding",           NULL};
    const char *const values[] = {"jotd-cli", "10", "primary", settings->database_url,
                                  "UTF8",     NULL};
    PGconn *connection = PQconnectdbParams(keywords, values, 1);
    char reason[ADMIN_REASON_SIZE];

    if (PQstatus(connection) != CONNECTION_OK)
        failure_set(failure, "cannot reach PostgreSQL: %s; check DATABASE_URL",
                    admin_reason(connection, NULL, reason));
    else if (!check_schema || check_schema_version(connection, failure))
        return connection;
    PQfinish(connection);
    return NULL;
}
