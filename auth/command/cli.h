/* The frame of the commands: their tree, their options as tables, their help and errors.
 *
 * Exit status of every command: 0 done, 1 failed (one line on stderr says why and what to do), 2
 * wrong usage.
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
    char letter;      /* -f for --file; 0: none */
    enum cli_kind kind;
    size_t offset;      /* of its value in the command's struct of values */
    const char *value;  /* its name in the help: SECONDS */
    long long min, max; /* of a number */
    bool is_needed;
    const char *help; /* may have several lines */
};

/* A positional argument: text, required. */
struct cli_argument {
    const char *name; /* ID; NULL ends the table */
    size_t offset;
    const char *missing; /* the error if it is missing */
};

#define CLI_ARGUMENTS_MAX 2

/* A group such as `jotd client`, or a command that runs, such as `jotd client create`. */
struct cli_command {
    const char *path;                          /* as typed, from `jotd` on */
    const char *summary;                       /* one line, for the list of commands */
    const struct cli_command *const *commands; /* NULL-terminated; NULL: it runs */
    const char *help;                          /* what it does, in lines; NULL: see the summary */
    const char *notes;                         /* printed after the options */
    const struct cli_option *options;          /* NULL: none */
    struct cli_argument arguments[CLI_ARGUMENTS_MAX + 1];
    size_t values_size; /* of its struct of values, which starts zeroed */
    int (*run)(const struct cli_command *command, const void *values);
};

/* Runs the command below `root` that the arguments name, or prints its help on --help or a leading
 * `help`. Returns the exit status. */
int cli_run(const struct cli_command *root, int argc, char **argv);

/* Prints `jotd: <reason>` on stderr. Returns CLI_FAILED. */
int cli_fail(const struct failure *failure);

/* Prints `jotd: <message>` and how to get help on stderr. Returns CLI_USAGE. */
int cli_usage(const struct cli_command *command, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
