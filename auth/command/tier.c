/* `jotd tier`: how many tokens the clients of a tier may have. */
#include <stdio.h>
#include <string.h>

#include "auth/command/command.h"
#include "auth/command/tier_usage.h"
#include "auth/quota/tier.h"

#define FIGURE_MAX 1000000000000 /* as the schema has it */
#define UNLIMITED  "unlimited"

/* The figures in the order of the table's columns. */
enum {
    OPTION_PER_MINUTE = ADMIN_FIRST_OPTION,
    OPTION_PER_HOUR,
    OPTION_PER_MONTH,
    OPTION_JSON,
};

struct arguments {
    const char *name;
    const char *figures[3]; /* per minute, hour, month, or UNLIMITED; NULL: as before */
    bool json;
};

static bool name_is_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

    return *name != '\0' && *name != '_' && *name != '-' && strlen(name) <= TIER_NAME_MAX &&
           strspn(name, allowed) == strlen(name);
}

/* False with the exit status when the command ends here. */
static bool read_options(const struct cli_command *command, int argc, char **argv,
                         const struct option *options, struct arguments *arguments, int *status)
{
    long long number;
    int option;

    *arguments = (struct arguments){0};
    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        switch (option) {
        case OPTION_PER_MINUTE:
        case OPTION_PER_HOUR:
        case OPTION_PER_MONTH:
            if (strcmp(optarg, UNLIMITED) != 0 && !integer_parse(optarg, 1, FIGURE_MAX, &number)) {
                *status = cli_usage(command, "a figure is a whole number from 1 to 10^12, or the "
                                             "word unlimited");
                return false;
            }
            arguments->figures[option - OPTION_PER_MINUTE] = optarg;
            break;
        case OPTION_JSON:
            arguments->json = true;
            break;
        default:
            *status = admin_other_option(command, option, argv);
            return false;
        }
    }
    return true;
}

/* The one argument, a tier's name. */
static bool read_name(const struct cli_command *command, int argc, char **argv,
                      struct arguments *arguments, int *status)
{
    if (optind == argc)
        *status = cli_usage(command, "the NAME of a tier is missing");
    else if (argc - optind > 1)
        *status = cli_usage(command, "unexpected argument: %s", argv[optind + 1]);
    else if (!name_is_valid(argv[optind]))
        *status = cli_usage(command,
                            "a tier's name is 1 to %d characters of a-z 0-9 _ - and "
                            "begins with a letter or digit",
                            TIER_NAME_MAX);
    else
        arguments->name = argv[optind];
    return arguments->name != NULL;
}

#define COLUMNS "name, per_minute, per_hour, per_month"

static json_t *tier_json(const PGresult *result, int row)
{
    return json_pack("{s:s, s:o, s:o, s:o}", "name", PQgetvalue(result, row, 0), "per_minute",
                     admin_json_number(result, row, 1), "per_hour",
                     admin_json_number(result, row, 2), "per_month",
                     admin_json_number(result, row, 3));
}

static int run_list(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {0}};
    struct arguments arguments;
    struct failure failure;
    PGconn *connection;
    PGresult *result = NULL;
    int status = CLI_DONE;

    if (!read_options(command, argc, argv, options, &arguments, &status))
        return status;
    if (optind != argc)
        return cli_usage(command, "unexpected argument: %s", argv[optind]);

    if ((connection = admin_connect(&failure)) == NULL ||
        (result = admin_query(connection,
                              "SELECT " COLUMNS " FROM tiers"
                              " ORDER BY per_month NULLS LAST, per_hour NULLS LAST, name",
                              0, NULL, &failure)) == NULL)
        status = cli_fail(&failure);
    else if (!arguments.json)
        admin_print_table(result);
    else if (!admin_print_json_rows(result, tier_json, &failure))
        status = cli_fail(&failure);
    PQclear(result);
    PQfinish(connection);
    return status;
}

/* The new figures of each window and then the old ones, NULL for unlimited; at last whether there
 * were any. Figures that were not given stay. */
#define SET_SQL                                                                                    \
    "WITH old AS (SELECT * FROM tiers WHERE name = $1)"                                            \
    " INSERT INTO tiers (" COLUMNS ")"                                                             \
    " VALUES ($1, nullif($2, 'unlimited')::bigint, nullif($3, 'unlimited')::bigint,"               \
    "  nullif($4, 'unlimited')::bigint)"                                                           \
    " ON CONFLICT (name) DO UPDATE SET"                                                            \
    "  per_minute = CASE WHEN $2 IS NULL THEN tiers.per_minute ELSE excluded.per_minute END,"      \
    "  per_hour = CASE WHEN $3 IS NULL THEN tiers.per_hour ELSE excluded.per_hour END,"            \
    "  per_month = CASE WHEN $4 IS NULL THEN tiers.per_month ELSE excluded.per_month END"          \
    " RETURNING " COLUMNS ", (SELECT per_minute FROM old), (SELECT per_hour FROM old),"            \
    "  (SELECT per_month FROM old), EXISTS (SELECT FROM old)"

static const char *figure(const PGresult *result, int column)
{
    return PQgetisnull(result, 0, column) ? UNLIMITED : PQgetvalue(result, 0, column);
}

static void print_change(const PGresult *result)
{
    static const char *const windows[] = {"minute", "hour", "month"};
    bool existed = *PQgetvalue(result, 0, 7) == 't';

    printf("%s%s:", PQgetvalue(result, 0, 0), existed ? "" : " (new)");
    for (int w = 0; w != (int)COUNT_OF(windows); ++w) {
        const char *new = figure(result, 1 + w), *old = figure(result, 4 + w);
        bool changed = existed && strcmp(old, new) != 0;

        printf("%s per %s %s%s%s", w != 0 ? "," : "", windows[w], changed ? old : "",
               changed ? " -> " : "", new);
    }
    putchar('\n');
}

static int run_set(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {
        {"per-minute", required_argument, NULL, OPTION_PER_MINUTE},
        {"per-hour", required_argument, NULL, OPTION_PER_HOUR},
        {"per-month", required_argument, NULL, OPTION_PER_MONTH},
        {"json", no_argument, NULL, OPTION_JSON},
        ADMIN_HELP_OPTION,
        {0},
    };
    struct arguments arguments;
    struct failure failure;
    PGconn *connection;
    PGresult *result = NULL;
    int status = CLI_DONE;

    if (!read_options(command, argc, argv, options, &arguments, &status) ||
        !read_name(command, argc, argv, &arguments, &status))
        return status;
    if (arguments.figures[0] == NULL && arguments.figures[1] == NULL &&
        arguments.figures[2] == NULL)
        return cli_usage(command, "what is to be set? give --per-minute, --per-hour or "
                                  "--per-month; the others stay as they are");

    const char *const values[] = {arguments.name, arguments.figures[0], arguments.figures[1],
                                  arguments.figures[2]};
    if ((connection = admin_connect(&failure)) == NULL ||
        (result = admin_query(connection, SET_SQL, 4, values, &failure)) == NULL)
        status = cli_fail(&failure);
    else if (!arguments.json)
        print_change(result);
    else if (!admin_print_json(tier_json(result, 0), &failure))
        status = cli_fail(&failure);
    PQclear(result);
    PQfinish(connection);
    return status;
}

static bool delete_tier(PGconn *connection, const char *name, struct failure *failure)
{
    PGresult *result =
        admin_query(connection, "SELECT count(*) FROM clients WHERE tier = $1", 1, &name, failure);
    long long users = result == NULL ? 0 : strtoll(PQgetvalue(result, 0, 0), NULL, 10);
    bool deleted;

    PQclear(result);
    if (result == NULL)
        return false;
    if (users != 0)
        return failure_set(failure,
                           "%lld client%s of tier %s: give them another by `jotd client update ID "
                           "--tier T` first",
                           users, users == 1 ? " is" : "s are", name);
    result = admin_query(connection, "DELETE FROM tiers WHERE name = $1", 1, &name, failure);
    deleted = result != NULL && strcmp(PQcmdTuples(result), "1") == 0;
    if (result != NULL && !deleted)
        failure_set(failure, "there is no tier %s: `jotd tier list` shows them", name);
    PQclear(result);
    return deleted;
}

static int run_delete(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {0}};
    struct arguments arguments;
    struct failure failure;
    PGconn *connection;
    int status = CLI_DONE;

    if (!read_options(command, argc, argv, options, &arguments, &status) ||
        !read_name(command, argc, argv, &arguments, &status))
        return status;

    if ((connection = admin_connect(&failure)) == NULL ||
        !delete_tier(connection, arguments.name, &failure))
        status = cli_fail(&failure);
    else if (!arguments.json)
        printf("deleted tier %s\n", arguments.name);
    else if (!admin_print_json(json_pack("{s:s}", "deleted", arguments.name), &failure))
        status = cli_fail(&failure);
    PQfinish(connection);
    return status;
}

static const struct cli_command commands[] = {
    {"list", "list the tiers",
     "Usage: jotd tier list [--json]\n"
     "\n"
     "Lists the tiers: tokens per minute, hour and calendar month (UTC) for each client.\n"
     "A dash, or null, is unlimited.\n",
     run_list},
    {"set", "make a tier, or change its figures",
     "Usage: jotd tier set NAME [--per-minute N|unlimited] [--per-hour N|unlimited]\n"
     "                          [--per-month N|unlimited] [--json]\n"
     "\n"
     "Makes the tier, or changes the figures that are given, at once and everywhere; the others\n"
     "stay as they are, those of a new tier are unlimited. Prints the old figures and the new.\n"
     "\n"
     "  --per-minute N   tokens in any 60 seconds\n"
     "  --per-hour N     tokens in any 60 minutes\n"
     "  --per-month N    tokens in a calendar month (UTC)\n"
     "  --json           print the tier as a JSON object\n"
     "\n"
     "Example: jotd tier set partner --per-minute 1000 --per-month 1000000\n",
     run_set},
    {"usage", "show what a client has used of its quota",
     "Usage: jotd tier usage CLIENT_ID [--json]\n"
     "\n"
     "Shows each limited window of the client's tier: its limit, what is used and left, and when\n"
     "more comes back (UTC). Asks the Redis of REDIS_URL; what processes have granted by\n"
     "themselves (JOTD_LIMITER=local, or without Redis) is not there.\n",
     admin_tier_usage},
    {"delete", "delete a tier that no client uses",
     "Usage: jotd tier delete NAME [--json]\n"
     "\n"
     "Deletes a tier; refused while clients use it.\n",
     run_delete},
    {0},
};

int admin_tier(int argc, char **argv)
{
    return cli_dispatch("jotd tier", commands, argc, argv);
}
