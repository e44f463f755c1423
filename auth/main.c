/* The table of subcommands. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "auth/command/cli.h"
#include "auth/serve.h"
#include "common/attributes.h"
#include "common/private_memory.h"

static int version(int argc, char **argv);

static const struct {
    const char *name, *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", "issue tokens until SIGTERM", serve},
    {"migrate", "bring the database's schema up to date", admin_migrate},
    {"client", "create, list, show, update, disable, enable, delete clients; their secrets",
     admin_client},
    {"tier", "list, set, delete tiers", admin_tier},
    {"key", "create, list, rotate, prune signing keys", admin_key},
    {"ledger", "show, send, retry, prune the record of issued tokens", admin_ledger},
    {"config", "check the configuration", admin_config},
    {"healthcheck", "ask a running server whether it is alive", admin_healthcheck},
    {"version", "print the version", version},
};

static void print_help(FILE *out)
{
    fputs("jotd issues signed access tokens to machines (OAuth 2.0 client credentials).\n\n"
          "Usage: jotd COMMAND …\n\n",
          out);
    for (size_t i = 0; i != COUNT_OF(commands); ++i)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\nEvery command has --help. Exit status: 0 done, 1 failed, 2 wrong usage.\n", out);
}

static int version(int argc, char **argv)
{
    if (argc > 1) {
        bool asked = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;

        fputs("Usage: jotd version\n\nPrints the version.\n", asked ? stdout : stderr);
        return asked ? CLI_DONE : CLI_USAGE;
    }
    puts("jotd " JOTD_VERSION);
    return CLI_DONE;
}

static int run(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";

    for (size_t i = 0; i != COUNT_OF(commands); ++i) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return CLI_DONE;
    }
    if (strcmp(name, "--version") == 0)
        return version(1, argv);
    if (*name != '\0')
        fprintf(stderr, "jotd: unknown command: %s\n", name);
    print_help(stderr);
    return CLI_USAGE;
}

/* Who reads the output is to know when it is not whole. */
int main(int argc, char **argv)
{
    int status;

    private_memory_begin();
    status = run(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CLI_DONE) {
        fprintf(stderr, "jotd: cannot write all of the output: %s\n", strerror(errno));
        status = CLI_FAILED;
    }
    return status;
}
