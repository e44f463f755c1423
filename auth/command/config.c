/* `jotd config`: the variables that exist, and their effective values as the server would read
 * them. */
#include <stdio.h>
#include <stdlib.h>

#include "auth/command/commands.h"
#include "auth/command/print.h"
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

struct list_values {
    bool json;
};

static json_t *choices_json(const char *const *choices)
{
    json_t *array = json_array();

    for (; *choices != NULL; ++choices)
        json_array_append_new(array, json_string(*choices));
    return array;
}

static json_t *option_json(const void *context, size_t row)
{
    const struct config_option *option = (const struct config_option *)context + row;
    json_t *json = json_pack("{s:s, s:s?, s:b, s:s}", "name", option->name, "default",
                             option->default_value, "secret", option->secret, "help", option->help);

    if (option->kind == CONFIG_NUMBER) {
        json_object_set_new(json, "min", json_integer(option->min));
        json_object_set_new(json, "max", json_integer(option->max));
        if (option->zero_word != NULL)
            json_object_set_new(json, "word", json_string(option->zero_word));
    } else if (option->kind == CONFIG_CHOICE) {
        json_object_set_new(json, "choices", choices_json(option->choices));
    }
    return json;
}

static bool print_options(const struct config_option *options, size_t count,
                          struct failure *failure)
{
    static const char *const names[] = {"NAME", "DEFAULT", "MEANING"};
    const char **cells = calloc(count, sizeof(names));

    if (cells == NULL)
        return failure_set(failure, "out of memory");
    for (size_t i = 0; i != count; ++i) {
        cells[i * COUNT_OF(names)] = options[i].name;
        cells[i * COUNT_OF(names) + 1] = options[i].default_value;
        cells[i * COUNT_OF(names) + 2] = options[i].help;
    }
    print_table(names, COUNT_OF(names), cells, count);
    free(cells);
    return true;
}

static int list(const struct cli_command *command, const void *values)
{
    const struct list_values *asked = values;
    size_t count;
    const struct config_option *options = settings_options(&count);
    struct failure failure;

    (void)command;
    return (asked->json ? print_json_rows(count, option_json, options, &failure)
                        : print_options(options, count, &failure))
               ? CLI_DONE
               : cli_fail(&failure);
}

static const struct cli_command command_list = {
    .path = "jotd config list",
    .summary = "every variable with its default and what it means",
    .options =
        (const struct cli_option[]){
            {.name = "json",
             .kind = CLI_FLAG,
             .offset = offsetof(struct list_values, json),
             .help = "print JSON, with the allowed values"},
            {0},
        },
    .values_size = sizeof(struct list_values),
    .run = list,
};

const struct cli_command command_config = {
    .path = "jotd config",
    .summary = "list the variables, check the configuration",
    .commands = (const struct cli_command *const[]){&command_list, &command_check, NULL},
};
