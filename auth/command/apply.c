/* `jotd apply`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/apply_read.h"
#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/apply.h"

struct values {
    struct cli_list files;
    const char *set_name;
    bool is_dry_run, prunes, json;
};

static const struct cli_option options[] = {
    {.name = "file",
     .letter = 'f',
     .kind = CLI_LIST,
     .offset = offsetof(struct values, files),
     .value = "FILE",
     .is_needed = true,
     .help = "also -f; YAML if it ends with .yaml or .yml, else JSON; - is stdin;\n"
             "repeatable"},
    {.name = "set",
     .kind = CLI_TEXT,
     .offset = offsetof(struct values, set_name),
     .value = "NAME",
     .is_needed = true,
     .help = "the set to which belongs what is made"},
    {.name = "dry-run",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, is_dry_run),
     .help = "show what would change, and change nothing"},
    {.name = "prune",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, prunes),
     .help = "delete what the set has made and the files no longer have, of the\n"
             "kinds that are in them"},
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, json),
     .help = "print the changes as a JSON object"},
    {0},
};

/* What changes by every change. */
static bool is_noise(const char *name)
{
    return strcmp(name, "version") == 0 || strcmp(name, "updated_at") == 0 ||
           strcmp(name, "created_at") == 0 || strcmp(name, "tokens_valid_from") == 0;
}

static void print_value(const json_t *value)
{
    char *text = value != NULL
                     ? json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_COMPACT)
                     : NULL;

    fputs(text != NULL ? text : "none", stdout);
    free(text);
}

static void print_members(const json_t *before, const json_t *after)
{
    const char *name, *separator = ": ";
    json_t *value;

    json_object_foreach((json_t *)after, name, value)
    {
        const json_t *old = json_object_get(before, name);

        if (is_noise(name) || json_equal(old, value))
            continue;
        printf("%s%s ", separator, name);
        print_value(old);
        fputs(" -> ", stdout);
        print_value(value);
        separator = ", ";
    }
}

static void print_change(const json_t *change)
{
    const char *action = json_string_value(json_object_get(change, "action"));
    const json_t *before = json_object_get(change, "before");
    json_int_t secrets = json_integer_value(json_object_get(change, "secrets"));

    printf("%c %s %s",
           *action == 'c'   ? '+'
           : *action == 'd' ? '-'
                            : '~',
           json_string_value(json_object_get(change, "object")),
           json_string_value(json_object_get(change, "id")));
    if (*action == 'u')
        print_members(before, json_object_get(change, "after"));
    if (secrets != 0)
        printf(" (%lld secret%s more)", (long long)secrets, secrets == 1 ? "" : "s");
    puts("");
}

static bool print_report(json_t *report, const struct values *values, struct failure *failure)
{
    json_t *change;
    size_t index;

    if (values->json)
        return print_json(report, failure);
    json_array_foreach(json_object_get(report, "changes"), index, change) print_change(change);
    printf("%zu changed, %lld unchanged%s\n", json_array_size(json_object_get(report, "changes")),
           (long long)json_integer_value(json_object_get(report, "unchanged")),
           values->is_dry_run ? "; a dry run: nothing was changed" : "");
    json_decref(report);
    return true;
}

/* Nothing is printed before it is done. */
static bool apply(const json_t *document, const struct values *values, json_t **report,
                  struct store_failure *failure)
{
    const struct apply_order order = {.set_name = values->set_name,
                                      .prunes = values->prunes,
                                      .is_dry_run = values->is_dry_run};
    PGconn *connection = database_connect(failure);
    bool done = connection != NULL && apply_run(connection, document, &order, report, failure);

    PQfinish(connection);
    return done;
}

static int run(const struct cli_command *command, const void *given)
{
    const struct values *values = given;
    struct store_failure failure = {.kind = STORE_UNAVAILABLE};
    json_t *document, *report = NULL;
    bool done;

    if (!apply_check_set(values->set_name, &failure))
        return cli_usage(command, "%s", failure.why.reason);
    document = apply_read_files(values->files.items, values->files.count, &failure.why);
    if (document == NULL)
        return cli_fail(&failure.why);
    done = apply(document, values, &report, &failure);
    json_decref(document);
    if (done)
        return print_report(report, values, &failure.why) ? CLI_DONE : cli_fail(&failure.why);
    if (failure.kind == STORE_INVALID && *failure.pointer != '\0') {
        struct failure told;

        failure_set(&told, "%.400s (at %s)", failure.why.reason, failure.pointer);
        return cli_fail(&told);
    }
    return cli_fail(&failure.why);
}

const struct cli_command command_apply = {
    .path = "jotd apply",
    .summary = "bring tiers, organizations and clients to what files say",
    .help = "Makes and changes what the files name, all of it or nothing, and prints what has\n"
            "changed. Values that a file does not give get their defaults. Secrets are given as\n"
            "their SHA-256, or as a file with the secret in its first line; other secrets of the\n"
            "client stay.",
    .options = options,
    .notes = "Example: jotd export > jotd.json\n"
             "         jotd apply -f jotd.json --set main --dry-run",
    .values_size = sizeof(struct values),
    .run = run,
};
