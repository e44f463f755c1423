#include "auth/store/secret_store.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/client.h"
#include "common/integer.h"

#define COLUMNS                                                                                    \
    "secret_id, " STORE_TIME("created_at") ", " STORE_TIME(                                        \
        "expires_at") ", expires_at IS NULL OR expires_at > now()"

enum { ID, CREATED_AT, EXPIRES_AT, IS_LIVE, LAST_USED_ON, IS_CUT, IS_UNRECORDED };

PGresult *secret_store_list(PGconn *connection, const char *client_id,
                            struct store_failure *failure)
{
    return store_query(connection,
                       "SELECT " COLUMNS " FROM client_secrets s WHERE client_id = $1"
                       " ORDER BY s.created_at DESC, secret_id",
                       1, &client_id, failure);
}

struct secret_values secret_store_values(const PGresult *secrets, size_t row_number)
{
    int row = (int)row_number;

    return (struct secret_values){
        .secret_id = store_text(secrets, row, ID),
        .created_at = store_text(secrets, row, CREATED_AT),
        .expires_at = store_text(secrets, row, EXPIRES_AT),
        .is_live = *PQgetvalue(secrets, row, IS_LIVE) == 't',
    };
}

/* issued_at has whole milliseconds. One row more than are wanted tells that there are more. */
#define MADE "date_trunc('milliseconds', created_at)"
#define USED_SQL                                                                                   \
    "WITH newest AS MATERIALIZED (SELECT issued_at, credential FROM issued_tokens"                 \
    "  WHERE client_id = $1"                                                                       \
    "  AND issued_at >= (SELECT min(" MADE ") FROM client_secrets WHERE client_id = $1)"           \
    "  ORDER BY issued_at DESC LIMIT $2::bigint + 1)"                                              \
    " SELECT " COLUMNS ", (last_used AT TIME ZONE 'UTC')::date, is_cut, is_unrecorded"             \
    " FROM client_secrets s, LATERAL ("                                                            \
    "  SELECT max(issued_at) FILTER (WHERE credential = secret_id) AS last_used,"                  \
    "   count(*) > $2 AS is_cut, bool_or(credential = '') AS is_unrecorded"                        \
    "  FROM newest WHERE issued_at >= " MADE ") AS used"                                           \
    " WHERE client_id = $1 ORDER BY s.created_at DESC, secret_id"

static PGresult *list_used(PGconn *connection, const char *client_id, long long newest,
                           struct store_failure *failure)
{
    char count[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {client_id, count};

    integer_write(newest, count);
    return store_query(connection, USED_SQL, 2, values, failure);
}

static bool has_older(const PGresult *secrets)
{
    const char *day;

    for (int row = 0; row != PQntuples(secrets); ++row) {
        if (secret_store_use(secrets, (size_t)row, &day) == SECRET_USE_OLDER)
            return true;
    }
    return false;
}

/* A secret in use is found among few tokens. */
static PGresult *search(PGconn *connection, const char *client_id, struct store_failure *failure)
{
    PGresult *secrets = list_used(connection, client_id, 1000, failure);

    if (secrets == NULL || !has_older(secrets))
        return secrets;
    PQclear(secrets);
    return list_used(connection, client_id, SECRET_STORE_NEWEST, failure);
}

/* The settings leave PostgreSQL only the index: without statistics, it would sort all tokens of the
 * client instead. */
PGresult *secret_store_list_used(PGconn *connection, const char *client_id,
                                 struct store_failure *failure)
{
    PGresult *secrets;

    if (!store_execute(connection,
                       "BEGIN READ ONLY; SET LOCAL enable_sort = off;"
                       " SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off",
                       failure))
        return NULL;
    secrets = search(connection, client_id, failure);
    if (secrets != NULL && !store_execute(connection, "COMMIT", failure)) {
        PQclear(secrets);
        return NULL;
    }
    return secrets;
}

enum secret_use secret_store_use(const PGresult *secrets, size_t row_number, const char **day)
{
    int row = (int)row_number;

    *day = store_text(secrets, row, LAST_USED_ON);
    if (*day != NULL)
        return SECRET_USE_FOUND;
    if (*PQgetvalue(secrets, row, IS_CUT) == 't')
        return SECRET_USE_OLDER;
    return *PQgetvalue(secrets, row, IS_UNRECORDED) == 't' ? SECRET_USE_NOT_RECORDED
                                                           : SECRET_USE_NONE;
}

bool secret_store_add_digest(PGconn *connection, const char *client_id,
                             const struct secret_digest *digest,
                             char secret_id[SECRET_STORE_ID_SIZE], struct store_failure *failure)
{
    const char *values[] = {client_id, (const char *)digest->bytes};
    const int lengths[] = {0, SECRET_DIGEST_LENGTH}, formats[] = {0, 1};
    PGresult *id = store_check(connection,
                               PQexecParams(connection,
                                            "INSERT INTO client_secrets (client_id, digest)"
                                            " VALUES ($1, $2) ON CONFLICT DO NOTHING"
                                            " RETURNING secret_id",
                                            2, NULL, values, lengths, formats, 0),
                               failure);
    bool added = id != NULL && PQntuples(id) == 1;

    if (added)
        snprintf(secret_id, SECRET_STORE_ID_SIZE, "%s", PQgetvalue(id, 0, 0));
    else if (id != NULL)
        store_fail(failure, STORE_CONFLICT, "/sha256", "the client has this secret already");
    PQclear(id);
    return added;
}

bool secret_store_add(PGconn *connection, const char *client_id, char secret[SECRET_LENGTH + 1],
                      char secret_id[SECRET_STORE_ID_SIZE], struct store_failure *failure)
{
    struct secret_digest digest;

    if (!secret_make(secret))
        return store_fail(failure, STORE_UNAVAILABLE, "", "the system gives no random bytes");
    secret_digest(slice_of(secret), &digest);
    return secret_store_add_digest(connection, client_id, &digest, secret_id, failure);
}

static PGresult *query_digest(PGconn *connection, const char *sql, const char *client_id,
                              const struct secret_digest *digest, struct store_failure *failure)
{
    const char *values[] = {client_id, (const char *)digest->bytes};
    const int lengths[] = {0, SECRET_DIGEST_LENGTH}, formats[] = {0, 1};

    return store_check(connection,
                       PQexecParams(connection, sql, 2, NULL, values, lengths, formats, 0),
                       failure);
}

static bool revive(PGconn *connection, const char *client_id, const struct secret_digest *digest,
                   struct store_failure *failure)
{
    PGresult *revived = query_digest(connection,
                                     "UPDATE client_secrets SET expires_at = NULL"
                                     " WHERE client_id = $1 AND digest = $2",
                                     client_id, digest, failure);

    PQclear(revived);
    return revived != NULL;
}

bool secret_store_keep(PGconn *connection, const char *client_id,
                       const struct secret_digest *digest, bool *is_new,
                       struct store_failure *failure)
{
    char secret_id[SECRET_STORE_ID_SIZE];
    PGresult *state = query_digest(connection,
                                   "SELECT coalesce(bool_or(digest = $2 AND live), false),"
                                   " coalesce(bool_or(digest = $2), false),"
                                   " count(*) FILTER (WHERE live) FROM (SELECT digest,"
                                   "  expires_at IS NULL OR expires_at > now() AS live"
                                   "  FROM client_secrets WHERE client_id = $1) AS secrets",
                                   client_id, digest, failure);
    bool is_live, exists;
    long live;

    if (state == NULL)
        return false;
    is_live = *PQgetvalue(state, 0, 0) == 't';
    exists = *PQgetvalue(state, 0, 1) == 't';
    live = strtol(PQgetvalue(state, 0, 2), NULL, 10);
    PQclear(state);
    *is_new = !is_live;
    if (is_live)
        return true;
    if (live >= CLIENT_MAX_SECRETS)
        return store_fail(failure, STORE_CONFLICT, "/secrets",
                          "it has %d live secrets, and no more count: revoke one first",
                          CLIENT_MAX_SECRETS);
    return exists ? revive(connection, client_id, digest, failure)
                  : secret_store_add_digest(connection, client_id, digest, secret_id, failure);
}

PGresult *secret_store_list_live(PGconn *connection, const json_t *client_ids,
                                 struct store_failure *failure)
{
    char *ids = json_dumps(client_ids, JSON_COMPACT);
    const char *const values[] = {ids};
    PGresult *live = NULL;

    if (ids == NULL)
        store_fail(failure, STORE_UNAVAILABLE, "", "out of memory");
    else
        live = store_query(connection,
                           "SELECT client_id, encode(digest, 'hex') FROM client_secrets"
                           " WHERE client_id = ANY (ARRAY(SELECT json_array_elements_text("
                           "  $1::json))) AND (expires_at IS NULL OR expires_at > now())",
                           1, values, failure);
    free(ids);
    return live;
}

bool secret_store_read_sha256(const char *hex, struct secret_digest *digest,
                              struct store_failure *failure)
{
    size_t length = 0;

    return (strlen(hex) == 2 * SECRET_DIGEST_LENGTH &&
            OPENSSL_hexstr2buf_ex(digest->bytes, SECRET_DIGEST_LENGTH, &length, hex, '\0') == 1 &&
            length == SECRET_DIGEST_LENGTH) ||
           store_fail(failure, STORE_INVALID, "/sha256",
                      "sha256 is the SHA-256 of the secret as 64 hexadecimal digits");
}

static bool run_statement(PGconn *connection, const char *sql, int count, const char *const *values,
                          struct store_failure *failure)
{
    PGresult *result = store_query(connection, sql, count, values, failure);

    PQclear(result);
    return result != NULL;
}

bool secret_store_end_old(PGconn *connection, const char *client_id, long long overlap_s,
                          struct store_failure *failure)
{
    char overlap[INTEGER_LENGTH_MAX + 1] = "", kept[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {client_id, overlap};
    const char *const keep_values[] = {client_id, kept};

    integer_write(overlap_s, overlap);
    integer_write(CLIENT_MAX_SECRETS - 1, kept);
    return run_statement(connection,
                         "DELETE FROM client_secrets WHERE client_id = $1 AND digest NOT IN"
                         " (SELECT digest FROM client_secrets WHERE client_id = $1"
                         " AND (expires_at IS NULL OR expires_at > now())"
                         " ORDER BY created_at DESC LIMIT $2::int)",
                         2, keep_values, failure) &&
           run_statement(connection,
                         "UPDATE client_secrets SET expires_at ="
                         " least(expires_at, now() + $2::bigint * interval '1 second')"
                         " WHERE client_id = $1",
                         2, values, failure);
}

bool secret_store_delete(PGconn *connection, const char *client_id, const char *secret_id,
                         struct store_failure *failure)
{
    const char *const values[] = {client_id, secret_id};
    PGresult *deleted =
        store_query(connection,
                    "DELETE FROM client_secrets WHERE client_id = $1 AND secret_id = $2", 2, values,
                    failure);
    bool done = deleted != NULL && strcmp(PQcmdTuples(deleted), "1") == 0;

    if (deleted != NULL && !done)
        store_fail(failure, STORE_NOT_FOUND, "/secret_id", "the client %.64s has no such secret",
                   client_id);
    PQclear(deleted);
    return done;
}

json_t *secret_store_documents(const PGresult *secrets)
{
    json_t *array = json_array();

    for (int row = 0; row != PQntuples(secrets); ++row) {
        struct secret_values secret = secret_store_values(secrets, (size_t)row);

        json_array_append_new(array, json_pack("{s:s, s:s, s:s?}", "secret_id", secret.secret_id,
                                               "created_at", secret.created_at, "expires_at",
                                               secret.expires_at));
    }
    return array;
}

json_t *secret_store_documents_used(const PGresult *secrets)
{
    json_t *array = secret_store_documents(secrets), *secret;
    size_t row;

    json_array_foreach(array, row, secret)
    {
        const char *day;
        enum secret_use use = secret_store_use(secrets, row, &day);

        json_object_set_new(secret, "last_used_on", day != NULL ? json_string(day) : json_null());
        json_object_set_new(secret, "last_use_unknown",
                            json_boolean(use == SECRET_USE_OLDER ||
                                         use == SECRET_USE_NOT_RECORDED));
    }
    return array;
}
