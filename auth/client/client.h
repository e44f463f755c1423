/* A client as the server knows it: one row of PostgreSQL, read once, in memory for as long as it is
 * of use to anybody.
 */
#ifndef AUTH_CLIENT_CLIENT_H
#define AUTH_CLIENT_CLIENT_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "auth/client/auth_failure.h"
#include "auth/client/secret.h"
#include "auth/quota/quota.h"
#include "common/attributes.h"
#include "common/failure.h"
#include "common/lru.h"
#include "common/slice.h"

#define CLIENT_ID_MAX      64
#define CLIENT_MAX_SECRETS 4 /* the newest that count; `jotd client rotate` keeps to it */

#define CLIENT_MAX_AUDIENCES 16
#define CLIENT_AUDIENCE_MAX  512 /* bytes of one */
#define CLIENT_MAX_TTL_S     86400
#define CLIENT_MAX_LIMIT     1000000000000 /* tokens in a window */

struct client_secret {
    struct secret_digest digest;
    int64_t expires_at_ms; /* Unix milliseconds; a free slot has expired in 1970 */
};

struct limiter_ask; /* limiter.c */

struct client {
    struct lru_entry entry;    /* its key is the id */
    unsigned references;       /* the cache's, and those of requests at work; one worker's */
    uint64_t event;            /* the count of events when it was looked up (struct client_cache) */
    uint64_t refresh_after_ms; /* monotonic: the last fifth of its life begins */
    uint64_t fresh_until_ms;   /* monotonic */
    struct slice id;
    unsigned tier; /* its number, tier.h */
    struct slice tier_name;
    bool enabled;
    bool has_authenticated; /* since it was looked up */
    int64_t token_ttl_s;    /* 0: the server's default */
    struct slice scope;     /* all that it may have, separated by spaces */
    struct slice *scopes;   /* the same, sorted for scope_grant */
    size_t scope_count;     /* of these */
    struct slice audiences; /* separated by spaces */
    struct client_secret secrets[CLIENT_MAX_SECRETS];
    struct quota quota;
    struct slice policy; /* the quota as the value of a header */
    /* Kept by limiter.c: what is asked for in this pass, and a refusal while it lasts. A change of
     * the client or of its tier makes a new record, and so ends it. */
    struct limiter_ask *ask;
    uint64_t refused_until_ms; /* monotonic; 0: it is not refused */
    uint64_t refused_at_ms;    /* monotonic; this was left then: */
    struct quota_left refused_left;
    _Alignas(struct slice) char text[]; /* `scopes`, then what the slices point into */
};

/* What is to be selected, from clients c and their tiers t. */
#define CLIENT_COLUMNS_SQL                                                                         \
    "c.client_id, c.tier, c.enabled, coalesce(c.token_ttl, 0),"                                    \
    " array_to_string(c.scopes, ' '), array_to_string(c.audiences, ' '),"                          \
    " (SELECT string_agg(encode(s.digest, 'hex') || ':' ||"                                        \
    "   CASE WHEN isfinite(s.expires_at)"                                                          \
    "    THEN floor(extract(epoch FROM s.expires_at) * 1000)::bigint::text ELSE '' END, ' ')"      \
    "  FROM (SELECT digest, expires_at FROM client_secrets"                                        \
    "   WHERE client_id = c.client_id AND (expires_at IS NULL OR expires_at > now())"              \
    "   ORDER BY created_at DESC LIMIT 4) s),"                                                     \
    " coalesce(t.per_minute, 0), coalesce(t.per_hour, 0), coalesce(t.per_month, 0)"
#define CLIENT_COLUMN_COUNT 10

/* The record of a row of CLIENT_COLUMNS_SQL, with one reference, which is the caller's. `event` is
 * the count of events when the row was asked for (struct client_cache); it is fresh for `life_ms`.
 * NULL, with the reason, for a row that breaks the schema's rules: rows of the ledger and the
 * claims of tokens are written as these records say, without another look. */
MUST_USE struct client *client_make(const PGresult *rows, int row, uint64_t event, uint64_t life_ms,
                                    struct failure *failure);

/* Whether both records say the same, of the same client. */
MUST_USE bool client_equal(const struct client *a, const struct client *b);

/* The record stays in memory until client_release, whatever becomes of it in the cache. */
void client_keep(struct client *client);
void client_release(struct client *client);

/* Whether `digest` is that of a live secret of an enabled client; `failure` says why not. Takes the
 * same time for a NULL client, a disabled one, and any number of secrets. `now_ms` in Unix
 * milliseconds. */
MUST_USE bool client_authenticate(const struct client *client, const struct secret_digest *digest,
                                  int64_t now_ms, enum auth_failure *failure);

/* Whether `id` has the form [A-Za-z0-9._-]{1,64}. */
MUST_USE bool client_id_is_valid(struct slice id);

#endif
