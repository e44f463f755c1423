#include "auth/store/instance_store.h"

#include <stdlib.h>

#include "common/integer.h"
#include "common/slice.h"
#include "common/uuid.h"

enum {
    INSTANCE_ID,
    HOST,
    VERSION,
    STARTED_AT,
    SEEN_AT,
    PENDING_ROWS,
    OLDEST_PENDING_AT,
    KEYS_DIGEST,
    IS_ALIVE,
};

PGresult *instance_store_list(PGconn *connection, const char *after, long long limit,
                              struct store_failure *failure)
{
    char limit_text[INTEGER_LENGTH_MAX + 1] = "", alive[INTEGER_LENGTH_MAX + 1] = "";
    const char *const values[] = {after, limit_text, alive};
    struct uuid id;

    if (after != NULL && !uuid_parse(slice_of(after), &id)) {
        store_fail(failure, STORE_INVALID, "/after", "this is no instance_id");
        return NULL;
    }
    integer_write(limit, limit_text);
    integer_write(INSTANCE_STORE_ALIVE_S, alive);
    return store_query(
        connection,
        "SELECT instance_id, host, version, " STORE_TIME("started_at") ", " STORE_TIME(
            "seen_at") ", pending_rows, " STORE_TIME("oldest_pending_at") ", keys_digest, seen_at "
                                                                          "> now() - $3::integer * "
                                                                          "interval '1 second'"
                                                                          " FROM instances WHERE "
                                                                          "($1::uuid IS NULL OR "
                                                                          "instance_id > $1)"
                                                                          " ORDER BY instance_id "
                                                                          "LIMIT "
                                                                          "nullif($2::bigint, 0)",
        3, values, failure);
}

struct instance_values instance_store_values(const PGresult *instances, size_t row_number)
{
    int row = (int)row_number;

    return (struct instance_values){
        .instance_id = store_text(instances, row, INSTANCE_ID),
        .host = store_text(instances, row, HOST),
        .version = store_text(instances, row, VERSION),
        .started_at = store_text(instances, row, STARTED_AT),
        .seen_at = store_text(instances, row, SEEN_AT),
        .pending_rows = store_text(instances, row, PENDING_ROWS),
        .oldest_pending_at = store_text(instances, row, OLDEST_PENDING_AT),
        .keys_digest = store_text(instances, row, KEYS_DIGEST),
        .is_alive = *PQgetvalue(instances, row, IS_ALIVE) == 't',
    };
}

json_t *instance_store_document(const struct instance_values *instance)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s?, s:s, s:b}", "instance_id",
                     instance->instance_id, "host", instance->host, "version", instance->version,
                     "started_at", instance->started_at, "seen_at", instance->seen_at,
                     "pending_rows", (json_int_t)strtoll(instance->pending_rows, NULL, 10),
                     "oldest_pending_at", instance->oldest_pending_at, "keys_digest",
                     instance->keys_digest, "alive", instance->is_alive);
}
