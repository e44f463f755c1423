/* What the administrative subcommands share: see command.h. */
#include "auth/command/command.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/settings.h"

void admin_start_options(void)
{
    optind = 1;
    opterr = 0;
}

int admin_other_option(const struct cli_command *command, int option, char **argv)
{
    if (option == 'h') {
        fputs(command->help, stdout);
        return CLI_DONE;
    }
    if (option == ':')
        return cli_usage(command, "%s needs a value", argv[optind - 1]);
    if (optopt != 0 && optopt < ADMIN_FIRST_OPTION)
        return cli_usage(command, "unknown option -%c", optopt);
    if (optopt != 0)
        return cli_usage(command, "%s: it takes no value", argv[optind - 1]);
    return cli_usage(command, "unknown option %s", argv[optind - 1]);
}

PGconn *admin_connect(struct failure *failure)
{
    struct settings settings;
    PGconn *connection = NULL;

    if (settings_load(&settings, SETTINGS_NEED_DATABASE, failure))
        connection = cli_connect(&settings, true, failure);
    settings_dispose(&settings);
    return connection;
}

const char *admin_reason(const PGconn *connection, const PGresult *result,
                         char reason[ADMIN_REASON_SIZE])
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t length = 0;

    if (message == NULL)
        message = PQerrorMessage(connection);
    for (const char *c = message; *c != '\0' && length < ADMIN_REASON_SIZE - 1; ++c) {
        if (!iscntrl((unsigned char)*c))
            reason[length++] = *c;
        else if (length != 0 && reason[length - 1] != ' ')
            reason[length++] = ' ';
    }
    while (length != 0 && reason[length - 1] == ' ')
        --length;
    reason[length] = '\0';
    return reason;
}

PGresult *admin_check(PGconn *connection, PGresult *result, struct failure *failure)
{
    ExecStatusType status = PQresultStatus(result);
    char reason[ADMIN_REASON_SIZE];

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    failure_set(failure, "PostgreSQL: %s", admin_reason(connection, result, reason));
    PQclear(result);
    return NULL;
}

PGresult *admin_query(PGconn *connection, const char *sql, int count, const char *const *values,
                      struct failure *failure)
{
    return admin_check(connection,
                       PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0), failure);
}

bool admin_execute(PGconn *connection, const char *sql, struct failure *failure)
{
    PGresult *result = admin_check(connection, PQexec(connection, sql), failure);

    PQclear(result);
    return result != NULL;
}

/* In characters: continuation bytes of UTF-8 take no place of their own. */
static int width(const char *text)
{
    int characters = 0;

    for (; *text != '\0'; ++text)
        characters += ((unsigned char)*text & 0xC0) != 0x80;
    return characters;
}

static void print_cell(const char *text, int columns, bool last)
{
    printf("%s%*s", text, last ? 0 : columns - width(text) + 2, "");
}

static const char *cell(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? "-" : PQgetvalue(result, row, column);
}

void admin_print_table(const PGresult *result)
{
    int columns = PQnfields(result), rows = PQntuples(result);
    int widths[16] = {0};

    for (int i = 0; i != columns; ++i) {
        widths[i] = width(PQfname(result, i));
        for (int row = 0; row != rows; ++row) {
            int needed = width(cell(result, row, i));

            widths[i] = needed > widths[i] ? needed : widths[i];
        }
    }
    for (int row = -1; row != rows; ++row) {
        for (int i = 0; i != columns; ++i)
            print_cell(row < 0 ? PQfname(result, i) : cell(result, row, i), widths[i],
                       i == columns - 1);
        putchar('\n');
    }
}

static bool dump(json_t *value)
{
    bool dumped = value != NULL && json_dumpf(value, stdout, JSON_COMPACT) == 0;

    json_decref(value);
    return dumped;
}

bool admin_print_json(json_t *value, struct failure *failure)
{
    if (!dump(value) || putchar('\n') == EOF)
        return failure_set(failure, "cannot print the JSON text");
    return true;
}

bool admin_print_json_rows(const PGresult *result,
                           json_t *(*row_json)(const PGresult *result, int row),
                           struct failure *failure)
{
    int rows = PQntuples(result);

    fputs("[", stdout);
    for (int row = 0; row != rows; ++row) {
        fputs(row == 0 ? "\n" : ",\n", stdout);
        if (!dump(row_json(result, row)))
            return failure_set(failure, "cannot print the JSON text");
    }
    fputs(rows == 0 ? "]\n" : "\n]\n", stdout);
    return true;
}

json_t *admin_json_number(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column)
               ? json_null()
               : json_integer(strtoll(PQgetvalue(result, row, column), NULL, 10));
}
