/* The frame of the commands: a tree of them, their options by table, their help and their errors.
 *
 * Exit status of every command: 0 done, 1 it failed (one line on stderr says why and what to do),
 * 2 wrong usage.
 */
#ifndef AUTH_COMMAND_CLI_H
#define AUTH_COMMAND_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

enum cli_status {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
};

enum cli_kind {
    CLI_FLAG,   /* bool */
    CLI_TEXT,   /* const char *; NULL: not given */
    CLI_NUMBER, /* struct cli_number */
    CLI_LIST,   /* struct cli_list: may be given several times */
};

struct cli_number {
    bool is_given;
    long long value;
};

#define CLI_LIST_MAX 64

struct cli_list {
    const char *items[CLI_LIST_MAX];
    size_t count;
};

struct cli_option {
    const char *name; /* without its dashes; NULL ends the table */
    enum cli_kind kind;
    size_t offset;      /* of its value, in the command's struct of values */
    const char *value;  /* what the help calls the value: SECONDS */
    long long min, max; /* of a number */
    bool is_needed;
    const char *help; /* may have several lines */
};

/* What is given without a name: text, needed. */
struct cli_argument {
    const char *name; /* ID; NULL ends the table */
    size_t offset;
    const char *missing; /* what to say when it is not there */
};

#define CLI_ARGUMENTS_MAX 2

/* `jotd client`, which has commands, or `jotd client create`, which runs. */
struct cli_command {
    const char *path;                          /* with all that is typed before it */
    const char *summary;                       /* one line, for the list that it is in */
    const struct cli_command *const *commands; /* ended by NULL; NULL: it runs */
    const char *help;                 /* what it does, in lines; NULL: the summary says it */
    const char *notes;                /* more, after the options */
    const struct cli_option *options; /* NULL: none */
    struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1];
    size_t values_size; /* of its struct of values, which begins zeroed */
    int (*run)(const struct cli_command *command, const void *values);
};

/* Runs the command that the arguments name, below `root`; with --help, or `help` before its name,
 * prints its help. Returns the exit status. */
int cli_run(const struct cli_command *root, int argc, char **argv);

/* `jotd: <reason>` on stderr. Returns CLI_FAILED. */
int cli_fail(const struct failure *failure);

/* `jotd: <message>` and where to find help, on stderr. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
