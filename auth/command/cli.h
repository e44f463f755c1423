/* What the subcommands share: the shape of a command, its --help, its errors and its database.
 *
 * Exit status of every command: 0 done, 1 it failed (one line on stderr says why and what to do),
 * 2 wrong usage.
 */
#ifndef AUTH_COMMAND_CLI_H
#define AUTH_COMMAND_CLI_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "auth/settings.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/integer.h"

enum cli_status {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

/* A subcommand: `jotd client create`. argv[0] is the command's last word. */
struct cli_command {
    const char *name;    /* "create" */
    const char *summary; /* one line for the group's --help */
    const char *help;    /* the whole --help: usage, options, an example */
    int (*run)(const struct cli_command *command, int argc, char **argv);
};

/* Runs the one of `commands` (ended by a NULL name) that argv[1] names; with --help, or without a
 * name or an unknown one, prints the list. `group` is "jotd client". */
int cli_dispatch(const char *group, const struct cli_command *commands, int argc, char **argv);

/* `jotd: <reason>` on stderr. Returns CLI_FAILED. */
int cli_fail(const struct failure *failure);

/* `jotd: <message>` and where to find help, on stderr. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...) PRINTF_LIKE(2, 3);

/* A blocking connection to DATABASE_URL. With `check_schema`, refuses a schema that this program
 * does not know. NULL on failure. No password in the reason. */
MUST_USE PGconn *cli_connect(const struct settings *settings, bool check_schema,
                             struct failure *failure);

/* The groups, for main.c's table. */
int admin_client(int argc, char **argv);
int admin_tier(int argc, char **argv);
int admin_key(int argc, char **argv);
int admin_ledger(int argc, char **argv);
int admin_migrate(int argc, char **argv);
int admin_config(int argc, char **argv);
int admin_healthcheck(int argc, char **argv);

#endif
