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
    snprintf(failure->pointer, sizeof(failure->pointer), "%s", pointer);
    va_start(values, format);
    vsnprintf(failure->why.reason, sizeof(failure->why.reason), format, values);
    va_end(values);
    return false;
}

void store_point_to(struct store_failure *failure, const char *parent, const char *name)
{
    size_t length = (size_t)snprintf(failure->pointer, sizeof(failure->pointer), "%s%s/",
                                     *parent != '\0' ? "/" : "", parent);

    for (; *name != '\0' && length + 3 < sizeof(failure->pointer); ++name) {
        char c = *name;

        if (c == '~' || c == '/') {
            failure->pointer[length++] = '~';
            c = c == '~' ? '0' : '1';
        }
        failure->pointer[length++] = c;
    }
    failure->pointer[length] = '\0';
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
 * constraint: SQLSTATE 23503 or 23505. One that gave way to
 * another is 40001, 40P01 (both waited for each other) or 55P03 (it waited too long). A value that
 * breaks a rule which only PostgreSQL checks is 23514, or a number or character that it cannot
 * store. */
static bool is_one_of(const char *state, const char *const *states)
{
    while (*states != NULL && strcmp(state, *states) != 0)
        ++states;
    return *states != NULL;
}

static const char *const gave_way[] = {"40001", "40P01", "55P03", NULL};

static enum store_kind kind_of(const char *state)
{
    static const char *const conflicts[] = {"23503", "23505", NULL};
    static const char *const invalid[] = {"23514", "22003", "22021", "22P05", NULL};

    return is_one_of(state, conflicts) || is_one_of(state, gave_way) ? STORE_CONFLICT
           : is_one_of(state, invalid)                               ? STORE_INVALID
                                                                     : STORE_UNAVAILABLE;
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
    const char *field = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *state = field != NULL ? field : "";
    char reason[REASON_SIZE];

    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return result;
    if (strcmp(state, "42501") == 0)
        store_fail(failure, STORE_UNAVAILABLE, "",
                   "PostgreSQL: %s: the role %s may not do this; DATABASE_URL has to name one that "
                   "may (docs/operate.md, Roles)",
                   reason_of(connection, result, reason), PQuser(connection));
    else if (is_one_of(state, gave_way))
        store_fail(failure, STORE_CONFLICT, "",
                   "another change was made at the same time; try again");
    else if (!explain(result, failure))
        store_fail(failure, kind_of(state), "", "PostgreSQL: %s",
                   reason_of(connection, result, reason));
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

static bool run_statement(PGconn *connection, const char *sql, int count, const char *const *values,
                          struct store_failure *failure)
{
    PGresult *result = store_query(connection, sql, count, values, failure);

    PQclear(result);
    return result != NULL;
}

bool store_begin(PGconn *connection, const struct store_actor *actor, struct store_failure *failure)
{
    const char *const values[] = {actor->name, actor->request_id};

    return store_execute(connection, "BEGIN", failure) &&
           run_statement(connection,
                         "SELECT set_config('jotd.actor', $1, true),"
                         " set_config('jotd.request_id', $2, true)",
                         2, values, failure);
}

/* PostgreSQL answers the COMMIT of a transaction that has failed with ROLLBACK. */
bool store_commit(PGconn *connection, struct store_failure *failure)
{
    PGresult *result = store_check(connection, PQexec(connection, "COMMIT"), failure);
    bool committed = result != NULL && strcmp(PQcmdStatus(result), "COMMIT") == 0;

    if (result != NULL && !committed)
        store_fail(failure, STORE_UNAVAILABLE, "", "PostgreSQL has rolled the changes back");
    PQclear(result);
    return committed;
}

bool store_begin_reading(PGconn *connection, struct store_failure *failure)
{
    return store_execute(connection, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", failure);
}

void store_roll_back(PGconn *connection)
{
    if (PQtransactionStatus(connection) != PQTRANS_IDLE)
        PQclear(PQexec(connection, "ROLLBACK"));
}

bool store_begin_own(PGconn *connection, bool *own, struct store_failure *failure)
{
    *own = PQtransactionStatus(connection) == PQTRANS_IDLE;
    return !*own || store_execute(connection, "BEGIN", failure);
}

bool store_commit_own(PGconn *connection, bool own, struct store_failure *failure)
{
    return !own || store_commit(connection, failure);
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
