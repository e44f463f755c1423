/* `jotd export`: prints what `jotd apply` takes. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/store/client_store.h"
#include "auth/store/organization_store.h"
#include "auth/store/tier_store.h"

#define AT_ONCE 1000 /* clients */

/* Prints one item, without what nobody can set; takes it over. */
static bool print_item(json_t *item, bool is_first, struct failure *failure)
{
    static const char *const left_out[] = {"version", "created_at", "updated_at",
                                           "tokens_valid_from"};
    char *text;

    for (size_t i = 0; i != COUNT_OF(left_out); ++i)
        json_object_del(item, left_out[i]);
    text = json_dumps(item, JSON_COMPACT);
    json_decref(item);
    if (text == NULL)
        return failure_set(failure, "out of memory");
    printf("%s\n    %s", is_first ? "" : ",", text);
    free(text);
    return true;
}

static bool print_tiers(PGconn *connection, struct store_failure *failure)
{
    PGresult *tiers = tier_store_list(connection, failure);
    bool done = tiers != NULL;

    for (int row = 0; done && row != PQntuples(tiers); ++row) {
        struct tier_values tier = tier_store_values(tiers, (size_t)row);

        done = print_item(tier_store_document(&tier), row == 0, &failure->why);
    }
    PQclear(tiers);
    return done;
}

static bool print_organizations(PGconn *connection, struct store_failure *failure)
{
    const struct organization_filter all = {.by_id = true};
    PGresult *organizations = organization_store_list(connection, &all, failure);
    bool done = organizations != NULL;

    for (int row = 0; done && row != PQntuples(organizations); ++row) {
        struct organization_values values = organization_store_values(organizations, (size_t)row);

        done = print_item(organization_store_document(&values), row == 0, &failure->why);
    }
    PQclear(organizations);
    return done;
}

/* In pages, so that it needs no more memory for a million of them. */
static bool print_clients(PGconn *connection, struct store_failure *failure)
{
    struct client_filter filter = {.by_id = true, .limit = AT_ONCE};
    char after[CLIENT_ID_MAX + 1];
    int rows;

    do {
        PGresult *clients = client_store_list(connection, &filter, failure);
        bool done = clients != NULL;

        rows = PQntuples(clients);
        for (int row = 0; done && row != rows; ++row) {
            struct client_values client = client_store_values(clients, (size_t)row);

            done = print_item(client_document(&client), row == 0 && filter.after == NULL,
                              &failure->why);
            snprintf(after, sizeof(after), "%s", client.client_id);
        }
        filter.after = after;
        PQclear(clients);
        if (!done)
            return false;
    } while (rows == AT_ONCE);
    return true;
}

static int run(const struct cli_command *command, const void *values)
{
    struct store_failure failure = {.kind = STORE_UNAVAILABLE};
    PGconn *connection = database_connect(&failure);
    bool done = connection != NULL && store_begin_reading(connection, &failure);

    (void)values;
    if (done)
        fputs("{\n  \"tiers\": [", stdout);
    done = done && print_tiers(connection, &failure);
    if (done)
        fputs("\n  ],\n  \"organizations\": [", stdout);
    done = done && print_organizations(connection, &failure);
    if (done)
        fputs("\n  ],\n  \"clients\": [", stdout);
    done = done && print_clients(connection, &failure);
    if (done)
        fputs("\n  ]\n}\n", stdout);
    PQfinish(connection);
    return done ? CLI_DONE : database_fail(command, &failure, NULL);
}

const struct cli_command command_export = {
    .path = "jotd export",
    .summary = "print all tiers, organizations and clients as jotd apply takes them",
    .help = "Prints JSON, without secrets and their digests. `jotd apply` of it changes nothing.",
    .run = run,
};
