#include "auth/store/store.h"

#include <ctype.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "auth/migrations.h"
#include "common/attributes.h"
#include "common/pg/pg_parameters.h"

#define REASON_SIZE 384

bool store_fail(struct store_failure *failure, enum store_kind kind, const char *pointer,
                const char *format, ...)
{
    va_list values;

    failure->kind = kind;
    failure->pointer = pointer;
    va_start(values, format);
    vsnprintf(failure->why.reason, sizeof(failure->why.reason), format, values);
    va_end(values);
    return false;
}

/* PostgreSQL's message on one line, without the detail, which may contain values. `result` may be
 * NULL. */
static const char *reason_of(const PGconn *connection, const PGresult *result,
                             char reason[REASON_SIZE])
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    size_t length = 0;

    if (message == NULL)
        message = PQerrorMessage(connection);
    for (const char *c = message; *c != '\0' && length < REASON_SIZE - 1; ++c) {
        if (!iscntrl((unsigned char)*c))
            reason[length++] = *c;
        else if (length != 0 && reason[length - 1] != ' ')
            reason[length++] = ' ';
    }
    while (length != 0 && reason[length - 1] == ' ')
        --length;
    reason[length] = '\0';
    return reason;
}

static bool check_schema_version(PGconn *connection, struct failure *failure)
{
    PGresult *result = PQexec(connection, MIGRATIONS_VERSION_SQL);
    bool known = migrations_check_version(result, failure);

    PQclear(result);
    return known;
}

PGconn *store_connect(const char *url, const char *application, bool check_schema,
                      struct failure *failure)
{
    struct pg_parameters parameters;
    char reason[REASON_SIZE];
    PGconn *connection;

    pg_parameters_begin(&parameters, application);
    pg_parameters_add(&parameters, "connect_timeout", "10"); /* seconds */
    pg_parameters_add(&parameters, "target_session_attrs", "primary");
    pg_parameters_add_url(&parameters, url);
    connection = PQconnectdbParams(parameters.keywords, parameters.values, 1);

    if (PQstatus(connection) != CONNECTION_OK)
        failure_set(failure, "cannot reach PostgreSQL: %s; check DATABASE_URL",
                    reason_of(connection, NULL, reason));
    else if (!check_schema || check_schema_version(connection, failure))
        return connection;
    PQfinish(connection);
    return NULL;
}

/* Operations look before they change something. What another one changed in between violates a
 * constraint: SQLSTATE 23503 or 23505. A value that breaks a rule which only PostgreSQL checks is
 * 23514, or a number or character that it cannot store. */
static enum store_kind kind_of(const char *state)
{
    static const char *const conflicts[] = {"23503", "23505"};
    static const char *const invalid[] = {"23514", "22003", "22021", "22P05"};

    for (size_t i = 0; state != NULL && i != COUNT_OF(conflicts); ++i) {
        if (strcmp(state, conflicts[i]) == 0)
            return STORE_CONFLICT;
    }
    for (size_t i = 0; state != NULL && i != COUNT_OF(invalid); ++i) {
        if (strcmp(state, invalid[i]) == 0)
            return STORE_INVALID;
    }
    return STORE_UNAVAILABLE;
}

/* Says a constraint's rule in words, if it is one that a change is not checked against beforehand,
 * because it depends on what is there already. */
static bool explain(const PGresult *result, struct store_failure *failure)
{
    static const struct {
        const char *constraint, *pointer, *rule;
    } rules[] = {
        {"clients_claims_check", "/claims",
         "the claims of a client are at most 2 KiB of JSON together"},
        {"clients_labels_check", "/labels", "a client has at most 16 labels"},
    };
    const char *constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);

    for (size_t i = 0; constraint != NULL && i != COUNT_OF(rules); ++i) {
        if (strcmp(constraint, rules[i].constraint) == 0) {
            store_fail(failure, STORE_INVALID, rules[i].pointer, "%s", rules[i].rule);
            return true;
        }
    }
    return false;
}

PGresult *store_check(PGconn *connection, PGresult *result, struct store_failure *failure)
{
    ExecStatusType status = PQresultStatus(result);
    char reason[REASON_SIZE];

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    if (PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL &&
        strcmp(PQresultErrorField(result, PG_DIAG_SQLSTATE), "42501") == 0)
        store_fail(failure, STORE_UNAVAILABLE, "",
                   "PostgreSQL: %s: the role %s may not do this; DATABASE_URL has to name one that "
                   "may (docs/operate.md, Roles)",
                   reason_of(connection, result, reason), PQuser(connection));
    else if (!explain(result, failure))
        store_fail(failure, kind_of(PQresultErrorField(result, PG_DIAG_SQLSTATE)), "",
                   "PostgreSQL: %s", reason_of(connection, result, reason));
    PQclear(result);
    return NULL;
}

PGresult *store_query(PGconn *connection, const char *sql, int count, const char *const *values,
                      struct store_failure *failure)
{
    return store_check(connection,
                       PQexecParams(connection, sql, count, NULL, values, NULL, NULL, 0), failure);
}

bool store_execute(PGconn *connection, const char *sql, struct store_failure *failure)
{
    PGresult *result = store_check(connection, PQexec(connection, sql), failure);

    PQclear(result);
    return result != NULL;
}

/* Control characters in a name could rewrite the terminal it is listed on. */
bool store_check_text(const char *text, size_t least, size_t most)
{
    json_t *utf8 = json_string(text); /* NULL when it is not UTF-8 */
    size_t characters = 0;
    bool valid = utf8 != NULL;

    json_decref(utf8);
    for (; *text != '\0'; ++text) {
        bool c1 = (unsigned char)text[0] == 0xC2 && (unsigned char)text[1] < 0xA0;

        valid = valid && (unsigned char)*text >= ' ' && *text != 0x7F && !c1;
        characters += ((unsigned char)*text & 0xC0) != 0x80;
    }
    return valid && characters >= least && characters <= most;
}

const char *store_text(const PGresult *result, int row, int column)
{
    return PQgetisnull(result, row, column) ? NULL : PQgetvalue(result, row, column);
}
