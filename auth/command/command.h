/* What the administrative subcommands share: options, statements, tables and JSON. */
#ifndef AUTH_COMMAND_COMMAND_H
#define AUTH_COMMAND_COMMAND_H

#include <getopt.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>

#include "auth/command/cli.h"
#include "common/attributes.h"
#include "common/failure.h"

#define ADMIN_REASON_SIZE 384

/* For getopt_long: -h is there without a table, and a missing value is told from a bad option. */
#define ADMIN_SHORT_OPTIONS ":h"
#define ADMIN_HELP_OPTION                                                                          \
    {                                                                                              \
        "help", no_argument, NULL, 'h'                                                             \
    }

/* Values of long options start here, so that they are told from letters. */
#define ADMIN_FIRST_OPTION 256

/* An SQL expression for a timestamptz as RFC 3339 text in UTC. */
#define ADMIN_TIME(column)                                                                         \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* Call before the first getopt_long of a command. */
void admin_start_options(void);

/* Answers what getopt_long returned and the command has no case for: --help, an option that it
 * does not have, a missing value. Returns the exit status. */
int admin_other_option(const struct cli_command *command, int option, char **argv);

/* Settings from the environment and a connection to a database with the schema that this program
 * knows. NULL on failure. */
MUST_USE PGconn *admin_connect(struct failure *failure);

/* PostgreSQL's message in one line, without the detail, which may hold values. `result` may be
 * NULL. Returns `reason`. */
const char *admin_reason(const PGconn *connection, const PGresult *result,
                         char reason[ADMIN_REASON_SIZE]);

/* `result`, or NULL after clearing it when it is an error's. */
MUST_USE PGresult *admin_check(PGconn *connection, PGresult *result, struct failure *failure);

/* One statement with text parameters (NULL is NULL). NULL on failure; the caller clears. */
MUST_USE PGresult *admin_query(PGconn *connection, const char *sql, int count,
                               const char *const *values, struct failure *failure);

/* Statements without parameters and without a result that matters. */
MUST_USE bool admin_execute(PGconn *connection, const char *sql, struct failure *failure);

/* All rows in aligned columns under the columns' names; NULL is a dash. */
void admin_print_table(const PGresult *result);

/* Prints the value on one line and frees it; false when it is NULL or cannot be printed. */
MUST_USE bool admin_print_json(json_t *value, struct failure *failure);

/* The whole result as a JSON array on stdout, one row a line, each made by `row_json`. */
MUST_USE bool admin_print_json_rows(const PGresult *result,
                                    json_t *(*row_json)(const PGresult *result, int row),
                                    struct failure *failure);

/* A field with a whole number as JSON; NULL is null. */
json_t *admin_json_number(const PGresult *result, int row, int column);

#endif
