#include "auth/command/cli.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/integer.h"
#include "common/nearest.h"

#define OPTIONS_MAX  32
#define FIRST_OPTION 256 /* getopt values above all letters */

static const char *last_word(const struct cli_command *command)
{
    const char *space = strrchr(command->path, ' ');

    return space != NULL ? space + 1 : command->path;
}

/* Help */

/* The width of `--name NAME`, or of `--json`. */
static int option_width(const struct cli_option *option)
{
    return (int)(strlen("--") + strlen(option->name) +
                 (option->value != NULL ? 1 + strlen(option->value) : 0));
}

static void print_usage(FILE *out, const struct cli_command *command)
{
    bool has_choice = false;

    fprintf(out, "Usage: %s", command->path);
    if (command->commands != NULL)
        fputs(" COMMAND", out);
    for (const struct cli_argument *argument = command->arguments; argument->name != NULL;
         ++argument)
        fprintf(out, " %s", argument->name);
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option) {
        if (option->is_needed)
            fprintf(out, " --%s %s", option->name, option->value);
        has_choice = has_choice || !option->is_needed;
    }
    if (has_choice)
        fputs(" [options]", out);
}

static void print_option(FILE *out, const struct cli_option *option, int width)
{
    const char *line = option->help;

    fprintf(out, "  --%s%s%s%*s", option->name, option->value != NULL ? " " : "",
            option->value != NULL ? option->value : "", width - option_width(option) + 3, "");
    for (;;) {
        int length = (int)strcspn(line, "\n");

        fprintf(out, "%.*s\n", length, line);
        if (line[length] == '\0')
            return;
        line += length + 1;
        fprintf(out, "  %*s", width + 3, "");
    }
}

static void print_options(FILE *out, const struct cli_command *command)
{
    int width = 0;

    for (const struct cli_option *option = command->options; option->name != NULL; ++option)
        width = option_width(option) > width ? option_width(option) : width;
    fputc('\n', out);
    for (const struct cli_option *option = command->options; option->name != NULL; ++option)
        print_option(out, option, width);
}

static void print_commands(FILE *out, const struct cli_command *command)
{
    fputs("\nCommands:\n", out);
    for (size_t i = 0; command->commands[i] != NULL; ++i)
        fprintf(out, "  %-14s %s\n", last_word(command->commands[i]),
                command->commands[i]->summary);
    fprintf(out, "\n%s COMMAND --help says more.\n", command->path);
}

static void print_help(FILE *out, const struct cli_command *command)
{
    print_usage(out, command);
    if (command->help != NULL)
        fprintf(out, "\n\n%s\n", command->help);
    else
        fprintf(out, "\n\n%c%s.\n", command->summary[0] - 'a' + 'A', command->summary + 1);
    if (command->commands != NULL)
        print_commands(out, command);
    if (command->options != NULL)
        print_options(out, command);
    if (command->notes != NULL)
        fprintf(out, "\n%s\n", command->notes);
}

/* Errors */

int cli_fail(const struct failure *failure)
{
    fprintf(stderr, "jotd: %s\n", failure->reason);
    return CLI_FAILED;
}

int cli_usage(const struct cli_command *command, const char *format, ...)
{
    va_list values;

    fputs("jotd: ", stderr);
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    print_usage(stderr, command);
    fputs(" (--help says more)\n", stderr);
    return CLI_USAGE;
}

static int refuse_option(const struct cli_command *command, const char *typed)
{
    struct nearest nearest = {0};
    char name[64];

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(typed + 2, "="), typed + 2);
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option)
        nearest_try(&nearest, name, option->name);
    if (nearest_is_near(&nearest))
        return cli_usage(command, "unknown option --%s; did you mean --%s?", name, nearest.name);
    return cli_usage(command, "unknown option --%s", name);
}

static int refuse_command(const struct cli_command *command, const char *typed)
{
    struct nearest nearest = {0};
    const char *meant = NULL;

    for (size_t i = 0; command->commands[i] != NULL; ++i) {
        if (nearest_try(&nearest, typed, last_word(command->commands[i])))
            meant = command->commands[i]->path;
    }
    if (!nearest_is_near(&nearest))
        meant = NULL;
    fprintf(stderr, "jotd: unknown command: %s %s%s%s%s\n", command->path, typed,
            meant != NULL ? "; did you mean `" : "", meant != NULL ? meant : "",
            meant != NULL ? "`?" : "");
    print_help(stderr, command);
    return CLI_USAGE;
}

/* Suggests --name where there is one: its value was probably typed without it. */
static int refuse_argument(const struct cli_command *command, const char *typed)
{
    bool takes_name = false;

    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option)
        takes_name = takes_name || strcmp(option->name, "name") == 0;
    return cli_usage(command, "unexpected argument: %s%s%s", typed,
                     takes_name ? "; a name is given by --name " : "", takes_name ? typed : "");
}

/* Reading */

/* Reads an option's value. False, with the exit status, if it is invalid. */
static bool read_value(const struct cli_command *command, const struct cli_option *option,
                       const char *text, void *values, int *status)
{
    char *at = (char *)values + option->offset;
    struct cli_number *number = (void *)at;
    struct cli_list *list = (void *)at;

    switch (option->kind) {
    case CLI_FLAG:
        *(bool *)at = true;
        return true;
    case CLI_TEXT:
        *(const char **)(void *)at = text;
        return true;
    case CLI_NUMBER:
        number->is_given = integer_parse(text, option->min, option->max, &number->value);
        if (!number->is_given)
            *status = cli_usage(command, "--%s takes a whole number from %lld to %lld",
                                option->name, option->min, option->max);
        return number->is_given;
    case CLI_LIST:
        if (list->count == CLI_LIST_MAX) {
            *status =
                cli_usage(command, "--%s is given more than %d times", option->name, CLI_LIST_MAX);
            return false;
        }
        list->items[list->count++] = text;
        return true;
    }
    return false;
}

static bool is_given(const struct cli_option *option, const void *values)
{
    const char *at = (const char *)values + option->offset;

    switch (option->kind) {
    case CLI_FLAG:
        return *(const bool *)at;
    case CLI_TEXT:
        return *(const char *const *)(const void *)at != NULL;
    case CLI_NUMBER:
        return ((const struct cli_number *)(const void *)at)->is_given;
    default:
        return ((const struct cli_list *)(const void *)at)->count != 0;
    }
}

static void make_getopt_options(const struct cli_command *command,
                                struct option options[OPTIONS_MAX + 2])
{
    size_t count = 0;

    for (; command->options != NULL && command->options[count].name != NULL; ++count)
        options[count] =
            (struct option){command->options[count].name,
                            command->options[count].kind == CLI_FLAG ? no_argument
                                                                     : required_argument,
                            NULL, FIRST_OPTION + (int)count};
    options[count++] = (struct option){"help", no_argument, NULL, 'h'};
    options[count] = (struct option){0};
}

/* The letters that getopt_long takes. */
static void make_getopt_letters(const struct cli_command *command, char letters[])
{
    size_t length = 0;

    letters[length++] = ':';
    letters[length++] = 'h';
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option) {
        if (option->letter == 0)
            continue;
        letters[length++] = option->letter;
        if (option->kind != CLI_FLAG)
            letters[length++] = ':';
    }
    letters[length] = '\0';
}

/* The option with this letter; NULL when there is none. */
static const struct cli_option *find_letter(const struct cli_command *command, int letter)
{
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option) {
        if (option->letter != 0 && option->letter == letter)
            return option;
    }
    return NULL;
}

/* False, with the exit status, if the command ends here. */
static bool read_options(const struct cli_command *command, int argc, char **argv, void *values,
                         int *status)
{
    struct option options[OPTIONS_MAX + 2];
    char letters[2 * OPTIONS_MAX + 4];
    const struct cli_option *lettered;
    int option;

    make_getopt_options(command, options);
    make_getopt_letters(command, letters);
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, letters, options, NULL)) != -1) {
        const char *typed = argv[optind - 1];

        if (option >= FIRST_OPTION) {
            if (read_value(command, command->options + (option - FIRST_OPTION), optarg, values,
                           status))
                continue;
        } else if ((lettered = find_letter(command, option)) != NULL) {
            if (read_value(command, lettered, optarg, values, status))
                continue;
        } else if (option == 'h') {
            print_help(stdout, command);
            *status = CLI_DONE;
        } else if (option == ':') {
            *status = cli_usage(command, "%s needs a value", typed);
        } else if (optopt != 0 && optopt < FIRST_OPTION) {
            *status = cli_usage(command, "unknown option -%c", optopt);
        } else if (optopt != 0) {
            *status = cli_usage(command, "%s: it takes no value", typed);
        } else {
            *status = refuse_option(command, typed);
        }
        return false;
    }
    return true;
}

static bool read_arguments(const struct cli_command *command, int argc, char **argv, void *values,
                           int *status)
{
    for (const struct cli_argument *argument = command->arguments; argument->name != NULL;
         ++argument) {
        if (optind >= argc) {
            *status = cli_usage(command, "%s", argument->missing);
            return false;
        }
        *(const char **)(void *)((char *)values + argument->offset) = argv[optind++];
    }
    if (optind < argc) {
        *status = refuse_argument(command, argv[optind]);
        return false;
    }
    for (const struct cli_option *option = command->options; option != NULL && option->name != NULL;
         ++option) {
        if (option->is_needed && !is_given(option, values)) {
            *status = cli_usage(command, "--%s %s is missing", option->name, option->value);
            return false;
        }
    }
    return true;
}

static int run(const struct cli_command *command, int argc, char **argv)
{
    void *values = calloc(1, command->values_size != 0 ? command->values_size : 1);
    int status = CLI_FAILED;

    if (values == NULL)
        return cli_fail(&(struct failure){"out of memory"});
    if (read_options(command, argc, argv, values, &status) &&
        read_arguments(command, argc, argv, values, &status))
        status = command->run(command, values);
    free(values);
    return status;
}

static bool asks_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

static const struct cli_command *find(const struct cli_command *command, const char *word)
{
    for (size_t i = 0; command->commands[i] != NULL; ++i) {
        if (strcmp(last_word(command->commands[i]), word) == 0)
            return command->commands[i];
    }
    return NULL;
}

int cli_run(const struct cli_command *root, int argc, char **argv)
{
    const struct cli_command *command = root, *next;
    bool helps = argc > 1 && strcmp(argv[1], "help") == 0;
    int at = helps ? 2 : 1;

    for (; command->commands != NULL && at < argc && !asks_help(argv[at]); ++at) {
        if ((next = find(command, argv[at])) == NULL)
            return refuse_command(command, argv[at]);
        command = next;
    }
    if (helps || (command->commands != NULL && at < argc)) {
        print_help(stdout, command);
        return CLI_DONE;
    }
    if (command->commands != NULL) {
        print_help(stderr, command);
        return CLI_USAGE;
    }
    return run(command, argc - at + 1, argv + at - 1);
}
