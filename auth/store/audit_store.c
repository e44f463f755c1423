#include "auth/store/audit_store.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/integer.h"

#define PRUNE_STEP 5000 /* rows in one transaction */

enum {
    AUDIT_ID,
    AT,
    SESSION_USER,
    ACTOR,
    REQUEST_ID,
    OBJECT,
    OBJECT_ID,
    ACTION,
    BEFORE,
    AFTER,
};

/* A word that is not one of these would find nothing, which reads as if nothing had happened. */
static bool check_word(const char *word, const char *const *words, const char *pointer,
                       const char *rule, struct store_failure *failure)
{
    if (word == NULL)
        return true;
    for (; *words != NULL; ++words) {
        if (strcmp(word, *words) == 0)
            return true;
    }
    return store_fail(failure, STORE_INVALID, pointer, "%s", rule);
}

static bool is_digits(const char *text, size_t count)
{
    return strspn(text, "0123456789") >= count;
}

/* RFC 3339 5.6; which days and hours there are, PostgreSQL knows. */
static bool is_time(const char *text)
{
    static const char shape[] = "0000-00-00T00:00:00";
    size_t i, fraction;

    for (i = 0; shape[i] != '\0'; ++i) {
        if (shape[i] == '0' ? text[i] < '0' || text[i] > '9' : text[i] != shape[i])
            return false;
    }
    text += i;
    if (*text == '.') {
        fraction = strspn(text + 1, "0123456789");
        if (fraction == 0 || fraction > 9)
            return false;
        text += 1 + fraction;
    }
    if (*text == '+' || *text == '-')
        return is_digits(text + 1, 2) && text[3] == ':' && is_digits(text + 4, 2) &&
               text[6] == '\0';
    return strcmp(text, "Z") == 0;
}

static bool check_time(const char *text, const char *pointer, struct store_failure *failure)
{
    return text == NULL || is_time(text) ||
           store_fail(failure, STORE_INVALID, pointer,
                      "a time is given as 2026-11-21T07:12:16Z, or with an offset such as +01:00");
}

bool audit_store_check(const struct audit_filter *filter, struct store_failure *failure)
{
    static const char *const objects[] = {"client", "secret", "tier", "organization", NULL};
    static const char *const actions[] = {"create", "update", "delete", "truncate", NULL};
    long long after;

    if (!check_word(filter->object, objects, "/object",
                    "an object is one of client, secret, tier, organization", failure) ||
        !check_word(filter->action, actions, "/action",
                    "an action is one of create, update, delete, truncate", failure) ||
        !check_time(filter->since, "/since", failure) ||
        !check_time(filter->until, "/until", failure))
        return false;
    if (filter->after != NULL && !integer_parse(filter->after, 0, INT64_MAX, &after))
        return store_fail(failure, STORE_INVALID, "/after", "this is no audit_id");
    return (filter->limit >= 0 && filter->limit <= AUDIT_STORE_LIMIT_MAX) ||
           store_fail(failure, STORE_INVALID, "/limit", "a limit is 0 to %d",
                      AUDIT_STORE_LIMIT_MAX);
}

/* A day that the calendar does not have. */
static PGresult *check_listed(PGconn *connection, PGresult *result, struct store_failure *failure)
{
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (state == NULL || (strcmp(state, "22007") != 0 && strcmp(state, "22008") != 0))
        return store_check(connection, result, failure);
    PQclear(result);
    store_fail(failure, STORE_INVALID, "", "there is no such time");
    return NULL;
}

PGresult *audit_store_list(PGconn *connection, const struct audit_filter *filter,
                           struct store_failure *failure)
{
    char limit[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {filter->object,       filter->object_id, filter->actor,
                                  filter->session_user, filter->action,    filter->since,
                                  filter->until,        filter->after,     limit};

    if (!audit_store_check(filter, failure))
        return NULL;
    integer_write(filter->limit, limit);
    return check_listed(
        connection,
        PQexecParams(connection,
                     "SELECT audit_id, " STORE_TIME_MS(
                         "at") ", a.session_user, actor, request_id, object, object_id, action,"
                               " before, after FROM audit_log a"
                               " WHERE ($1::text IS NULL OR object = $1)"
                               " AND ($2::text IS NULL OR object_id = $2)"
                               " AND ($3::text IS NULL OR actor = $3)"
                               " AND ($4::text IS NULL OR a.session_user = $4)"
                               " AND ($5::text IS NULL OR action = $5)"
                               " AND ($6::timestamptz IS NULL OR at >= $6)"
                               " AND ($7::timestamptz IS NULL OR at < $7)"
                               " AND ($8::bigint IS NULL OR audit_id < $8)"
                               " ORDER BY audit_id DESC LIMIT nullif($9::bigint, 0)",
                     9, NULL, values, NULL, NULL, 0),
        failure);
}

struct audit_values audit_store_values(const PGresult *rows, size_t row_number)
{
    int row = (int)row_number;

    return (struct audit_values){
        .audit_id = store_text(rows, row, AUDIT_ID),
        .at = store_text(rows, row, AT),
        .session_user = store_text(rows, row, SESSION_USER),
        .actor = store_text(rows, row, ACTOR),
        .request_id = store_text(rows, row, REQUEST_ID),
        .object = store_text(rows, row, OBJECT),
        .object_id = store_text(rows, row, OBJECT_ID),
        .action = store_text(rows, row, ACTION),
        .before = store_text(rows, row, BEFORE),
        .after = store_text(rows, row, AFTER),
    };
}

/* Statements typed by hand may have stored numbers that jansson refuses; then it is a string. */
static json_t *parse(const char *object)
{
    json_t *parsed = object != NULL ? json_loads(object, 0, NULL) : json_null();

    return parsed != NULL ? parsed : json_string(object);
}

json_t *audit_store_document(const struct audit_values *row)
{
    return json_pack("{s:I, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:o, s:o}", "audit_id",
                     (json_int_t)strtoll(row->audit_id, NULL, 10), "at", row->at, "session_user",
                     row->session_user, "actor", row->actor, "request_id", row->request_id,
                     "object", row->object, "object_id", row->object_id, "action", row->action,
                     "before", parse(row->before), "after", parse(row->after));
}

/* Retention */

#define COUNT_SQL                                                                                  \
    "SELECT count(*) FROM audit_log"                                                               \
    " WHERE at < date_trunc('month', now() - $1::integer * interval '1 month', 'UTC')"

static bool read_count(PGresult *result, long long *count)
{
    bool read = result != NULL;

    *count = read ? strtoll(PQgetvalue(result, 0, 0), NULL, 10) : 0;
    PQclear(result);
    return read;
}

bool audit_store_prune(PGconn *connection, long long keep_months, bool is_dry_run, long long *rows,
                       struct store_failure *failure)
{
    char months[INTEGER_LENGTH_MAX + 1] = "", step[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {months, step};
    long long removed;

    *rows = 0;
    if (keep_months < 1 || keep_months > AUDIT_STORE_KEEP_MONTHS_MAX)
        return store_fail(failure, STORE_INVALID, "/keep_audit_months",
                          "months are a whole number from 1 to %d", AUDIT_STORE_KEEP_MONTHS_MAX);
    integer_write(keep_months, months);
    integer_write(PRUNE_STEP, step);
    if (is_dry_run)
        return read_count(store_query(connection, COUNT_SQL, 1, values, failure), rows);
    do {
        if (!read_count(store_query(connection, "SELECT forget_audit($1, $2)", 2, values, failure),
                        &removed))
            return false;
        *rows += removed;
    } while (removed == PRUNE_STEP);
    return true;
}
