/* The servers that run, or have run lately, as each has noted itself. */
#ifndef AUTH_STORE_INSTANCE_STORE_H
#define AUTH_STORE_INSTANCE_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/store/store.h"
#include "common/attributes.h"

/* A server writes its row every 10 s; one that has missed two is taken to be gone. */
#define INSTANCE_STORE_ALIVE_S 30

/* Views into the PGresult they were read from; times in RFC 3339. */
struct instance_values {
    const char *instance_id;
    const char *host;
    const char *version;
    const char *started_at, *seen_at;
    const char *pending_rows;      /* a number */
    const char *oldest_pending_at; /* NULL: nothing waits */
    const char *keys_digest;       /* of the kids that it publishes */
    bool is_alive;                 /* was seen within INSTANCE_STORE_ALIVE_S */
};

/* At most `limit` (0: no limit) after the id `after` (NULL: from the first), by id, that is, by
 * their start. NULL on failure. */
MUST_USE PGresult *instance_store_list(PGconn *connection, const char *after, long long limit,
                                       struct store_failure *failure);
struct instance_values instance_store_values(const PGresult *instances, size_t row);

/* For the API; NULL when out of memory. */
json_t *instance_store_document(const struct instance_values *instance);

#endif
