/* `jotd organization`. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/store/organization_store.h"
#include "common/attributes.h"

#define JSON_OPTION(type, text)                                                                    \
    {                                                                                              \
        .name = "json", .kind = CLI_FLAG, .offset = offsetof(type, json), .help = (text)           \
    }

#define ID_ARGUMENT(type)                                                                          \
    {                                                                                              \
        {                                                                                          \
            "ID", offsetof(type, id), "the ID of an organization is missing"                       \
        }                                                                                          \
    }

/* For the commands that take only an id and --json. */
struct id_values {
    const char *id;
    bool json;
};

static const struct cli_option id_options[] = {
    JSON_OPTION(struct id_values, "print the organization as a JSON object"),
    {0},
};

/* Checks the id if there is one, connects and calls `act`. Reports a failure of any of them; `hint`
 * is for an object that is in the way. */
static int with_organization(const struct cli_command *command, const char *id, const void *values,
                             bool (*act)(PGconn *connection, const void *values,
                                         struct store_failure *failure),
                             const char *hint)
{
    struct store_failure failure;
    PGconn *connection = NULL;
    bool done = (id == NULL || organization_store_check_id(id, &failure)) &&
                (connection = database_connect(&failure)) != NULL &&
                act(connection, values, &failure);

    PQfinish(connection);
    if (done)
        return CLI_DONE;
    return database_fail(command, &failure,
                         failure.kind == STORE_CONFLICT ? hint
                                                        : "`jotd organization list` shows them");
}

/* Prints the organization that was changed, and frees it. */
static bool print_changed(PGresult *organizations, const char *done, bool json,
                          struct store_failure *failure)
{
    struct organization_values organization;
    bool printed = true;

    if (organizations == NULL)
        return false;
    organization = organization_store_values(organizations, 0);
    if (json)
        printed = print_json(organization_store_document(&organization), &failure->why);
    else
        printf("%s organization %s\n", done, organization.organization_id);
    PQclear(organizations);
    return printed;
}

/* create */

struct create_values {
    const char *id;
    struct organization_change change;
    bool json;
};

static const struct cli_option create_options[] = {
    {.name = "name",
     .kind = CLI_TEXT,
     .offset = offsetof(struct create_values, change.name),
     .value = "NAME",
     .is_needed = true,
     .help = "a name for people"},
    {.name = "id",
     .kind = CLI_TEXT,
     .offset = offsetof(struct create_values, id),
     .value = "ID",
     .help = "1 to 64 characters of A-Z a-z 0-9 . _ -; default: 20 random ones"},
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = offsetof(struct create_values, change.tier),
     .value = "TIER",
     .help = "its tier (jotd tier list); default: unlimited"},
    JSON_OPTION(struct create_values, "print the organization as a JSON object"),
    {0},
};

static bool create(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct create_values *values = given;

    return print_changed(organization_store_create(connection, NULL, values->id, &values->change,
                                                   failure),
                         "created", values->json, failure);
}

static int run_create(const struct cli_command *command, const void *given)
{
    const struct create_values *values = given;
    struct store_failure failure;

    if (!organization_store_check(&values->change, &failure))
        return database_fail(command, &failure, NULL);
    return with_organization(command, values->id, values, create, "choose another --id");
}

static const struct cli_command command_create = {
    .path = "jotd organization create",
    .summary = "make an organization",
    .help = "Makes an organization that holds no client yet, and prints its id.",
    .options = create_options,
    .notes = "Example: jotd organization create --id acme --name \"Acme Inc.\" --tier business\n"
             "         jotd client create --name billing --organization acme",
    .values_size = sizeof(struct create_values),
    .run = run_create,
};

/* list */

struct list_values {
    bool json;
};

static const struct cli_option list_options[] = {
    JSON_OPTION(struct list_values, "print a JSON array"),
    {0},
};

static json_t *row_json(const void *organizations, size_t row)
{
    struct organization_values organization = organization_store_values(organizations, row);

    return organization_store_document(&organization);
}

static bool print_organizations(const PGresult *organizations, struct failure *failure)
{
    static const char *const names[] = {"organization_id", "name", "tier", "enabled", "created"};
    size_t columns = COUNT_OF(names), rows = (size_t)PQntuples(organizations);
    const char **cells = calloc(columns * rows + 1, sizeof(*cells));

    if (cells == NULL)
        return failure_set(failure, "out of memory");
    for (size_t row = 0; row != rows; ++row) {
        struct organization_values organization = organization_store_values(organizations, row);
        const char *const line[] = {organization.organization_id, organization.name,
                                    organization.tier, organization.is_enabled ? "yes" : "no",
                                    organization.created_at};

        memcpy(cells + row * columns, line, sizeof(line));
    }
    print_table(names, columns, cells, rows);
    free(cells);
    return true;
}

static bool list(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct list_values *values = given;
    const struct organization_filter filter = {0};
    PGresult *organizations = organization_store_list(connection, &filter, failure);
    bool done = organizations != NULL;

    if (done && values->json)
        done = print_json_rows((size_t)PQntuples(organizations), row_json, organizations,
                               &failure->why);
    else if (done)
        done = print_organizations(organizations, &failure->why);
    PQclear(organizations);
    return done;
}

static int run_list(const struct cli_command *command, const void *values)
{
    return with_organization(command, NULL, values, list, NULL);
}

static const struct cli_command command_list = {
    .path = "jotd organization list",
    .summary = "list the organizations, newest first",
    .help = "Lists the organizations, newest first. `jotd client list --organization ID` lists\n"
            "the clients of one.",
    .options = list_options,
    .values_size = sizeof(struct list_values),
    .run = run_list,
};

/* show */

static bool print_shown(const struct organization_values *organization, long long clients,
                        bool json, struct failure *failure)
{
    if (json) {
        json_t *object = organization_store_document(organization);

        json_object_set_new(object, "clients", json_integer(clients));
        return print_json(object, failure);
    }
    printf("organization_id  %s\nname             %s\ntier             %s\n"
           "created_at       %s\nupdated_at       %s\nenabled          %s\n"
           "clients          %lld\n",
           organization->organization_id, organization->name, organization->tier,
           organization->created_at, organization->updated_at,
           organization->is_enabled ? "yes" : "no", clients);
    return true;
}

static bool show(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;
    PGresult *organizations = organization_store_find(connection, values->id, failure);
    struct organization_values organization;
    long long clients;
    bool done = organizations != NULL &&
                organization_store_count_clients(connection, values->id, &clients, failure);

    if (done) {
        organization = organization_store_values(organizations, 0);
        done = print_shown(&organization, clients, values->json, &failure->why);
    }
    PQclear(organizations);
    return done;
}

static int run_show(const struct cli_command *command, const void *given)
{
    return with_organization(command, ((const struct id_values *)given)->id, given, show, NULL);
}

static const struct cli_command command_show = {
    .path = "jotd organization show",
    .summary = "show an organization, and how many clients it holds",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_show,
};

/* update */

struct update_values {
    const char *id;
    struct organization_change change;
    bool json;
};

static const struct cli_option update_options[] = {
    {.name = "name",
     .kind = CLI_TEXT,
     .offset = offsetof(struct update_values, change.name),
     .value = "NAME",
     .help = "a name for people"},
    {.name = "tier",
     .kind = CLI_TEXT,
     .offset = offsetof(struct update_values, change.tier),
     .value = "TIER",
     .help = "its tier (jotd tier list)"},
    JSON_OPTION(struct update_values, "print the organization as a JSON object"),
    {0},
};

static bool update(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct update_values *values = given;

    return print_changed(organization_store_update(connection, values->id, &values->change,
                                                   failure),
                         "updated", values->json, failure);
}

static int run_update(const struct cli_command *command, const void *given)
{
    const struct update_values *values = given;
    struct store_failure failure;

    if (values->change.name == NULL && values->change.tier == NULL)
        return cli_usage(command, "nothing to change was given");
    if (!organization_store_check(&values->change, &failure))
        return database_fail(command, &failure, NULL);
    return with_organization(command, values->id, values, update, NULL);
}

static const struct cli_command command_update = {
    .path = "jotd organization update",
    .summary = "change an organization's name or tier",
    .help = "Changes what the options name, and nothing else.",
    .options = update_options,
    .arguments = ID_ARGUMENT(struct update_values),
    .values_size = sizeof(struct update_values),
    .run = run_update,
};

/* enable, disable, delete */

static bool enable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(organization_store_enable(connection, values->id, true, failure),
                         "enabled", values->json, failure);
}

static int run_enable(const struct cli_command *command, const void *given)
{
    return with_organization(command, ((const struct id_values *)given)->id, given, enable, NULL);
}

static const struct cli_command command_enable = {
    .path = "jotd organization enable",
    .summary = "enable a disabled organization",
    .help = "Its clients get tokens again, except those that are disabled themselves.",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_enable,
};

static bool disable(PGconn *connection, const void *given, struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(organization_store_enable(connection, values->id, false, failure),
                         "disabled", values->json, failure);
}

static int run_disable(const struct cli_command *command, const void *given)
{
    return with_organization(command, ((const struct id_values *)given)->id, given, disable, NULL);
}

static const struct cli_command command_disable = {
    .path = "jotd organization disable",
    .summary = "refuse tokens to all clients of an organization",
    .help = "None of its clients gets anything until it is enabled again, and the tokens that\n"
            "they have are inactive at /introspect. The clients themselves are left as they\n"
            "are.",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_disable,
};

static bool delete_organization(PGconn *connection, const void *given,
                                struct store_failure *failure)
{
    const struct id_values *values = given;

    return print_changed(organization_store_delete(connection, NULL, values->id, failure),
                         "deleted", values->json, failure);
}

static int run_delete(const struct cli_command *command, const void *given)
{
    return with_organization(command, ((const struct id_values *)given)->id, given,
                             delete_organization,
                             "move them by `jotd client update CLIENT_ID --organization OTHER`"
                             " (\"\" for none), or delete them, first");
}

static const struct cli_command command_delete = {
    .path = "jotd organization delete",
    .summary = "delete an organization that holds no client",
    .help = "Deletes an organization; refused while it holds clients, which `jotd client list\n"
            "--organization ID` lists. The records of their tokens keep its id.",
    .options = id_options,
    .arguments = ID_ARGUMENT(struct id_values),
    .values_size = sizeof(struct id_values),
    .run = run_delete,
};

const struct cli_command command_organization = {
    .path = "jotd organization",
    .summary = "create, list, show, update, enable, disable, delete organizations",
    .help = "An organization holds clients, and a client is of one organization or of none\n"
            "(jotd client update CLIENT_ID --organization ID). While it is disabled, none of its\n"
            "clients gets anything, and their tokens are inactive at /introspect. Its tier is on\n"
            "record, and limits nothing: each client is held to its own tier.",
    .commands = (const struct cli_command *const[]){&command_create, &command_list, &command_show,
                                                    &command_update, &command_enable,
                                                    &command_disable, &command_delete, NULL},
};
