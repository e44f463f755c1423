/* A client record: one PostgreSQL row in memory, reference-counted. */
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
#define CLIENT_MAX_SECRETS 4 /* the newest ones count; `jotd client rotate` enforces it */

#define CLIENT_MAX_AUDIENCES 16
#define CLIENT_AUDIENCE_MAX  512 /* bytes each */
#define CLIENT_MAX_TTL_S     86400
#define CLIENT_MAX_LIMIT     1000000000000 /* tokens per window */
#define CLIENT_CLAIMS_MAX    2048          /* bytes of its static claims as JSON text */
#define CLIENT_SECRET_ID_MAX 31

struct client_secret {
    struct secret_digest digest;
    int64_t expires_at_ms; /* Unix milliseconds; free slots expired in 1970 */
    char id[CLIENT_SECRET_ID_MAX + 1];
};

struct limiter_ask; /* limiter.c */

struct client {
    struct lru_entry entry;    /* keyed by id */
    unsigned references;       /* by the cache and by requests, all of one worker */
    uint64_t event;            /* the cache's event count at look-up (client_cache.h) */
    uint64_t refresh_after_ms; /* monotonic; start of the last fifth of its life */
    uint64_t fresh_until_ms;   /* monotonic */
    struct slice id;
    unsigned tier; /* tier number (tier.h) */
    struct slice tier_name;
    bool enabled;
    struct slice organization; /* empty: none */
    bool organization_enabled; /* true without one */
    bool has_authenticated;    /* since it was looked up */
    unsigned pages;            /* of /revocations that are being read for it */
    int64_t token_ttl_s;       /* its own, or its tier's; 0: server default */
    int64_t valid_from_ms;     /* Unix milliseconds: its tokens from before then are inactive */
    struct slice claims;       /* of its tokens: members of a JSON object, without the braces */
    struct slice introspect;   /* audiences whose tokens it may ask about, space-separated; or * */
    struct slice scope;        /* all it may request, space-separated */
    struct slice *scopes;      /* its tokens, sorted for scope_grant */
    size_t scope_count;
    struct slice audiences; /* space-separated */
    struct client_secret secrets[CLIENT_MAX_SECRETS];
    struct quota quota;
    struct slice policy; /* RateLimit-Policy header value of `quota` */
    /* Owned by limiter.c: this pass's request, and a refusal while it lasts. A change to the client
     * or its tier creates a new record, which clears the refusal. */
    struct limiter_ask *ask;
    uint64_t refused_until_ms; /* monotonic; 0: not refused */
    uint64_t refused_at_ms;    /* monotonic; the time of `refused_left` */
    struct quota_left refused_left;
    _Alignas(struct slice) char text[]; /* `scopes`, then the text of the slices */
};

/* The select list, from clients c with CLIENT_JOINS_SQL. */
#define CLIENT_COLUMNS_SQL                                                                         \
    "c.client_id, c.tier, c.enabled, coalesce(c.token_ttl, t.token_ttl, 0),"                       \
    " array_to_string(c.scopes, ' '), array_to_string(c.audiences, ' '),"                          \
    " (SELECT string_agg(encode(s.digest, 'hex') || ':' ||"                                        \
    "   CASE WHEN isfinite(s.expires_at)"                                                          \
    "    THEN floor(extract(epoch FROM s.expires_at) * 1000)::bigint::text ELSE '' END"            \
    "   || ':' || s.secret_id, ' ')"                                                               \
    "  FROM (SELECT digest, expires_at, secret_id FROM client_secrets"                             \
    "   WHERE client_id = c.client_id AND (expires_at IS NULL OR expires_at > now())"              \
    "   ORDER BY created_at DESC LIMIT 4) s),"                                                     \
    " c.organization, coalesce(o.enabled, true),"                                                  \
    " coalesce(nullif(c.claims, '{}')::text, ''), array_to_string(c.introspect, ' '),"             \
    " greatest(0, least(9999999999999,"                                                            \
    "  ceil(coalesce(extract(epoch FROM c.tokens_valid_from), 0) * 1000)))::bigint,"               \
    " coalesce(t.per_minute, 0), coalesce(t.per_hour, 0), coalesce(t.per_month, 0)"
#define CLIENT_COLUMN_COUNT 15
#define CLIENT_JOINS_SQL                                                                           \
    " JOIN tiers t ON t.name = c.tier"                                                             \
    " LEFT JOIN organizations o ON o.organization_id = c.organization"
_Static_assert(CLIENT_MAX_SECRETS == 4, "the statement has the same limit");

/* Makes a record from a row of CLIENT_COLUMNS_SQL; the caller owns its one reference. `event` is
 * the cache's event count when the row was requested (client_cache.h); the record stays fresh for
 * `life_ms`. Returns NULL, with the reason, for a row that breaks the schema's rules: ledger rows
 * and token claims use these values without checking them again. */
MUST_USE struct client *client_make(const PGresult *rows, int row, uint64_t event, uint64_t life_ms,
                                    struct failure *failure);

/* Whether both records hold the same data of the same client. */
MUST_USE bool client_equal(const struct client *a, const struct client *b);

/* Adds a reference: the record stays valid until client_release, even if the cache drops it. */
void client_keep(struct client *client);
void client_release(struct client *client);

/* Whether neither it nor its organization is disabled. */
static inline bool client_is_enabled(const struct client *client)
{
    return client->enabled & client->organization_enabled;
}

/* The live secret of an enabled client that `digest` matches; NULL when there is none, and
 * `failure` says why. Takes the same time for a NULL client, a disabled one, and any number of
 * secrets. `now_ms` is in Unix milliseconds. */
MUST_USE const struct client_secret *client_authenticate(const struct client *client,
                                                         const struct secret_digest *digest,
                                                         int64_t now_ms,
                                                         enum auth_failure *failure);

/* Whether it may ask about tokens for one of these audiences, which are separated by spaces. */
MUST_USE bool client_may_introspect(const struct client *client, struct slice audiences);

/* Whether `id` matches [A-Za-z0-9._-]{1,64}. */
MUST_USE bool client_id_is_valid(struct slice id);

#endif
