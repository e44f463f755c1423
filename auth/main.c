/* The table of commands. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/serve.h"
#include "common/private_memory.h"

static int print_version(const struct cli_command *command, const void *values)
{
    (void)command, (void)values;
    puts("jotd " JOTD_VERSION);
    return CLI_DONE;
}

static const struct cli_command command_version = {
    .path = "jotd version",
    .summary = "print the version",
    .run = print_version,
};

static const struct cli_command jotd = {
    .path = "jotd",
    .help = "jotd issues signed access tokens to machines (OAuth 2.0 client credentials).",
    .commands = (const struct cli_command *const[]){&serve_command, &command_init, &command_migrate,
                                                    &command_client, &command_organization,
                                                    &command_tier, &command_token, &command_audit,
                                                    &command_apply, &command_export, &command_key,
                                                    &command_ledger, &command_config,
                                                    &command_healthcheck, &command_version, NULL},
    .notes = "`jotd help COMMAND` does the same. Exit status: 0 done, 1 failed, 2 wrong usage.",
};

/* Fails if stdout could not be written in full. */
int main(int argc, char **argv)
{
    int status;

    private_memory_begin();
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        status = print_version(&command_version, NULL);
    else
        status = cli_run(&jotd, argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE) {
        fprintf(stderr, "jotd: cannot write all of the output: %s\n", strerror(errno));
        status = CLI_FAILED;
    }
    return status;
}
