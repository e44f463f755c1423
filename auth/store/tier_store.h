/* Tiers: the token quotas of their clients, and how long their tokens live. */
#ifndef AUTH_STORE_TIER_STORE_H
#define AUTH_STORE_TIER_STORE_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/quota/quota.h"
#include "auth/store/guard.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define TIER_STORE_LIMIT_MAX 1000000000000 /* tokens in a window; same as in the schema */

/* Views into the PGresult they were read from. Limits are numbers of tokens as text; NULL:
 * unlimited. */
struct tier_values {
    const char *name;
    const char *limits[QUOTA_WINDOWS];
    const char *token_ttl; /* seconds; NULL: none of its own */
    const char *version;   /* a number, raised by every change */
};

/* A tier after and before a change; `before` means nothing unless it existed. */
struct tier_change_values {
    struct tier_values now, before;
    bool existed;
};

#define TIER_STORE_UNLIMITED 0
#define TIER_STORE_NO_TTL    0
#define TIER_STORE_UNCHANGED (-1)

/* What to set: numbers of tokens and seconds, or one of the constants above. In a new tier,
 * unchanged means unlimited, or no lifetime of its own. */
struct tier_settings {
    long long limits[QUOTA_WINDOWS];
    long long token_ttl_s;
};

MUST_USE bool tier_store_check_name(const char *name, struct store_failure *failure);

/* Whether the tier exists (NULL counts as existing); the reason lists those that do. */
MUST_USE bool tier_store_check_exists(PGconn *connection, const char *name,
                                      struct store_failure *failure);

MUST_USE PGresult *tier_store_list(PGconn *connection, struct store_failure *failure);
struct tier_values tier_store_values(const PGresult *tiers, size_t row);

/* Creates or changes a tier. NULL on failure. */
MUST_USE PGresult *tier_store_set(PGconn *connection, const char *name,
                                  const struct tier_settings *settings,
                                  struct store_failure *failure);
struct tier_change_values tier_store_change(const PGresult *changed);

/* Fails while clients or organizations use it. */
MUST_USE bool tier_store_delete(PGconn *connection, const struct guard *guard, const char *name,
                                struct store_failure *failure);

/* These return the tier's row; NULL on failure. */
MUST_USE PGresult *tier_store_find(PGconn *connection, const char *name,
                                   struct store_failure *failure);
/* Makes it if there is none of this name; sets `was_made`. */
MUST_USE PGresult *tier_store_put(PGconn *connection, const struct guard *guard, const char *name,
                                  const json_t *document, bool *was_made,
                                  struct store_failure *failure);
/* Merges the patch into its document (RFC 7396). */
MUST_USE PGresult *tier_store_patch(PGconn *connection, const struct guard *guard, const char *name,
                                    const json_t *patch, struct store_failure *failure);

/* All its values as a JSON object, which the caller owns. */
json_t *tier_store_document(const struct tier_values *tier);

/* Reads the settings of a document; `name` must be the one given (NULL: any). */
MUST_USE bool tier_store_read(const json_t *document, const char *name,
                              struct tier_settings *settings, struct store_failure *failure);

/* Looks up a client's tier and its quota. */
#define TIER_STORE_NAME_SIZE 64
MUST_USE bool tier_store_quota(PGconn *connection, const char *client_id,
                               char tier[TIER_STORE_NAME_SIZE], struct quota *quota,
                               struct store_failure *failure);

#endif
