/* In the order in which a call takes its steps. */
#include "auth/endpoint/admin/call_store.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/scope.h"
#include "common/attributes.h"
#include "common/integer.h"

/* The caller */

static void refuse(struct call *call, int status, const char *detail)
{
    call->refusal = status;
    call->refusal_detail = detail;
}

#define CALLER_SQL                                                                                 \
    "SELECT c.enabled AND coalesce(o.enabled, true), array_to_string(c.scopes, ' '),"              \
    " array_to_string(c.audiences, ' '),"                                                          \
    " coalesce(ceil(extract(epoch FROM c.tokens_valid_from) * 1000)::bigint, 0) > $2::bigint,"     \
    " EXISTS (SELECT FROM revoked_tokens WHERE jti = $3::uuid)"                                    \
    " FROM clients c LEFT JOIN organizations o ON o.organization_id = c.organization"              \
    " WHERE c.client_id = $1"

enum { IS_ENABLED, SCOPES, AUDIENCES, IS_OUTDATED, IS_REVOKED };

static bool is_true(const PGresult *result, int column)
{
    return *PQgetvalue(result, 0, column) == 't';
}

static void judge_caller(struct call *call, const PGresult *record)
{
    enum call_scope scope;

    if (PQntuples(record) == 0 || !is_true(record, IS_ENABLED)) {
        refuse(call, 401, "The token's client, or its organization, is disabled or gone.");
        return;
    }
    if (is_true(record, IS_OUTDATED) || is_true(record, IS_REVOKED)) {
        refuse(call, 401, "The token was revoked; get another.");
        return;
    }
    scope = call_scope_of(slice_of(PQgetvalue(record, 0, SCOPES)));
    call->scope = scope < call->token_scope ? scope : call->token_scope;
    call->guard.governs = call->scope == CALL_ADMIN;
    if (!scope_has(slice_of(PQgetvalue(record, 0, AUDIENCES)),
                   slice_of(call->guard.admin_audience)) ||
        call->scope < call->operation->scope)
        refuse(call, 403, "The token's client may not do this any more.");
}

/* False when it cannot be looked up, or is refused. */
static bool check_caller(struct call *call, PGconn *connection)
{
    char issued_ms[INTEGER_LENGTH_MAX + 1] = "", jti[UUID_TEXT_LENGTH + 1] = "";
    const char *const values[] = {call->client_id, issued_ms, jti};
    PGresult *record;

    integer_write(call->issued_ms, issued_ms);
    uuid_format(&call->jti, jti);
    record = store_query(connection, CALLER_SQL, 3, values, &call->failure);
    if (record == NULL)
        return false;
    judge_caller(call, record);
    PQclear(record);
    return call->refusal == 0;
}

/* Idempotency-Key */

static PGresult *query_key(struct call *call, PGconn *connection, const char *sql,
                           const char *status, const char *body)
{
    const char *values[] = {call->client_id, call->key,      (const char *)call->digest,
                            status,          call->location, body};
    const int lengths[] = {0, 0, sizeof(call->digest), 0, 0, 0}, formats[] = {0, 0, 1, 0, 0, 0};

    return store_check(connection,
                       PQexecParams(connection, sql, status == NULL ? 3 : 6, NULL, values, lengths,
                                    formats, 0),
                       &call->failure);
}

static bool run_key(struct call *call, PGconn *connection, const char *sql, const char *status,
                    const char *body, int *rows)
{
    PGresult *result = query_key(call, connection, sql, status, body);

    if (result == NULL)
        return false;
    *rows = atoi(PQcmdTuples(result));
    PQclear(result);
    return true;
}

/* Gives the answer of the first request again. */
static bool replay(struct call *call, PGconn *connection)
{
    PGresult *first = query_key(call, connection,
                                "SELECT request = $3, status, location, body FROM idempotency_keys"
                                " WHERE caller = $1 AND key = $2",
                                NULL, NULL);
    bool is_same;

    if (first == NULL)
        return false;
    if (PQntuples(first) == 0) {
        PQclear(first);
        return store_fail(&call->failure, STORE_CONFLICT, "", "try again");
    }
    is_same = is_true(first, 0);
    if (is_same) {
        call->is_replay = true;
        call->status = atoi(PQgetvalue(first, 0, 1));
        snprintf(call->location, sizeof(call->location), "%s", PQgetvalue(first, 0, 2));
        if (*PQgetvalue(first, 0, 3) != '\0')
            call->answer = json_loads(PQgetvalue(first, 0, 3), JSON_DECODE_ANY, NULL);
    }
    PQclear(first);
    if (!is_same)
        refuse(call, 422, "This Idempotency-Key was used for another request; choose a new one.");
    return is_same;
}

/* Sets `is_first`; the second of two at once waits here for the first. */
static bool begin_key(struct call *call, PGconn *connection, bool *is_first)
{
    int rows;

    *is_first = true;
    if (*call->key == '\0')
        return true;
    if (!store_execute(connection,
                       "DELETE FROM idempotency_keys WHERE made_at < now() - interval '24 hours'",
                       &call->failure) ||
        !run_key(call, connection,
                 "INSERT INTO idempotency_keys (caller, key, request) VALUES ($1, $2, $3)"
                 " ON CONFLICT DO NOTHING",
                 NULL, NULL, &rows))
        return false;
    *is_first = rows == 1;
    return *is_first || replay(call, connection);
}

static bool end_key(struct call *call, PGconn *connection)
{
    char status[INTEGER_LENGTH_MAX + 1] = "", *body;
    json_t *answer;
    bool done;
    int rows;

    if (*call->key == '\0')
        return true;
    integer_write(call->status, status);
    answer = json_copy(call->answer); /* NULL for NULL */
    json_object_del(answer, "client_secret");
    body = answer != NULL ? json_dumps(answer, JSON_COMPACT) : NULL;
    json_decref(answer);
    done = run_key(call, connection,
                   "UPDATE idempotency_keys SET status = $4::int, location = $5, body = $6"
                   " WHERE caller = $1 AND key = $2 AND request = $3",
                   status, body != NULL ? body : "", &rows);
    free(body);
    return done;
}

/* The operation */

static bool change(struct call *call, PGconn *connection)
{
    const struct store_actor actor = {call->client_id, call->request_id};
    bool is_first;

    return store_begin(connection, &actor, &call->failure) &&
           begin_key(call, connection, &is_first) &&
           (!is_first || (call->operation->run(call, connection, &call->failure) &&
                          end_key(call, connection))) &&
           (call->undo || store_commit(connection, &call->failure)); /* or it is rolled back */
}

void call_store_run(struct call *call, PGconn *connection)
{
    bool done;

    if (connection == NULL)
        done = store_fail(&call->failure, STORE_UNAVAILABLE, "",
                          "PostgreSQL cannot be reached at the moment; try again later");
    else if (!check_caller(call, connection))
        done = call->refusal != 0;
    else if (call->operation->is_local)
        done = true; /* it runs on the loop */
    else if (strcmp(call->operation->method, "GET") == 0)
        done = call->operation->run(call, connection, &call->failure);
    else
        done = change(call, connection) || call->refusal != 0;
    call->has_failed = !done;
}
