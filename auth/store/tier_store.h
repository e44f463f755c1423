/* Tiers: how many tokens their clients may have. */
#ifndef AUTH_STORE_TIER_STORE_H
#define AUTH_STORE_TIER_STORE_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>

#include "auth/quota/quota.h"
#include "auth/store/store.h"
#include "common/attributes.h"

#define TIER_STORE_LIMIT_MAX 1000000000000 /* tokens in a window; as the schema has it */

/* Views into what they were read from. Limits are tokens, as text; NULL: unlimited. */
struct tier_values {
    const char *name;
    const char *limits[QUOTA_WINDOWS];
};

/* What was before; `existed`: there was such a tier. */
struct tier_change_values {
    struct tier_values now, before;
    bool existed;
};

#define TIER_STORE_UNLIMITED 0
#define TIER_STORE_UNCHANGED (-1)

MUST_USE bool tier_store_check_name(const char *name, struct store_failure *failure);

/* Whether there is such a tier (NULL counts as one); the reason lists those that there are. */
MUST_USE bool tier_store_check_exists(PGconn *connection, const char *name,
                                      struct store_failure *failure);

MUST_USE PGresult *tier_store_list(PGconn *connection, struct store_failure *failure);
struct tier_values tier_store_values(const PGresult *tiers, size_t row);

/* Makes a tier or changes it: each limit is a number of tokens or one of the two words above. The
 * unchanged ones of a new tier are unlimited. NULL on failure. */
MUST_USE PGresult *tier_store_set(PGconn *connection, const char *name,
                                  const long long limits[QUOTA_WINDOWS],
                                  struct store_failure *failure);
struct tier_change_values tier_store_change(const PGresult *changed);

/* Refused while clients use it. */
MUST_USE bool tier_store_delete(PGconn *connection, const char *name,
                                struct store_failure *failure);

/* The tier of a client, and its quota. */
#define TIER_STORE_NAME_SIZE 64
MUST_USE bool tier_store_quota(PGconn *connection, const char *client_id,
                               char tier[TIER_STORE_NAME_SIZE], struct quota *quota,
                               struct store_failure *failure);

#endif
