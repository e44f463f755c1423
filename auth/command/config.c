/* `jotd config`: what the environment says, as the server would understand it. */
#include <stdio.h>

#include "auth/command/command.h"
#include "auth/settings.h"

static const struct option options[] = {ADMIN_HELP_OPTION, {0}};

static int run_check(const struct cli_command *command, int argc, char **argv)
{
    struct settings settings;
    struct failure failure;
    int option;
    bool loaded;

    admin_start_options();
    if ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1)
        return admin_other_option(command, option, argv);
    if (optind != argc)
        return cli_usage(command, "unexpected argument: %s", argv[optind]);

    loaded = settings_load(&settings, SETTINGS_NEED_DATABASE | SETTINGS_NEED_ISSUER, &failure);
    if (loaded)
        settings_print(&settings, stdout);
    settings_dispose(&settings);
    return loaded ? CLI_DONE : cli_fail(&failure);
}

int admin_config(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {"check", "check the environment and print the effective values",
         "Usage: jotd config check\n"
         "\n"
         "Checks the environment as `jotd serve` does and prints the effective values, with\n"
         "secrets masked. Connects to nothing.\n",
         run_check},
        {0},
    };

    return cli_dispatch("jotd config", commands, argc, argv);
}
