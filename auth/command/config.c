/* `jotd config`: what the environment says, as the server would understand it. */
#include <stdio.h>

#include "auth/command/commands.h"
#include "auth/settings.h"

static int check(const struct cli_command *command, const void *values)
{
    struct settings settings;
    struct failure failure;
    bool loaded = settings_load(&settings, SETTINGS_NEED_DATABASE | SETTINGS_NEED_ISSUER, &failure);

    (void)command, (void)values;
    if (loaded)
        settings_print(&settings, stdout);
    settings_dispose(&settings);
    return loaded ? CLI_DONE : cli_fail(&failure);
}

static const struct cli_command command_check = {
    .path = "jotd config check",
    .summary = "check the environment and print the effective values",
    .help = "Checks the environment as `jotd serve` does and prints the effective values, with\n"
            "secrets masked. Connects to nothing.",
    .run = check,
};

const struct cli_command command_config = {
    .path = "jotd config",
    .summary = "check the configuration",
    .commands = (const struct cli_command *const[]){&command_check, NULL},
};
