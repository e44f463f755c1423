/* Configuration as code: brings tiers, organizations and clients to what a document says.
 *
 * The document is a JSON object with the members `tiers`, `organizations` and `clients`, arrays of
 * documents that have their id (name, organization_id, client_id). A client may have `secrets`,
 * each
 * {"sha256": HEX}: they are made to exist and to be live; others of the client stay. Values that a
 * document does not have get their defaults.
 *
 * It is one transaction, or a part of the caller's.
 *
 * What is made belongs to the set that made it. Pruning deletes what the set has made and the
 * document does not have, of the kinds that the document has.
 */
#ifndef AUTH_STORE_APPLY_H
#define AUTH_STORE_APPLY_H

#include <jansson.h>
#include <libpq-fe.h>
#include <stdbool.h>

#include "auth/store/guard.h"
#include "auth/store/store.h"
#include "common/attributes.h"

struct apply_order {
    const char *set_name; /* [A-Za-z0-9._-]{1,64} */
    bool prunes;
    bool is_dry_run;           /* if the transaction is its own, it is rolled back */
    const struct guard *guard; /* NULL: none */
};

MUST_USE bool apply_check_set(const char *set_name, struct store_failure *failure);

/* Sets `report`, which the caller owns, to {"changes": [{"action", "object", "id", "before",
 * "after", "secrets"}, …], "unchanged": N}. The action is create, update or delete; `secrets` is
 * how many were added. After a failure its reason names the object, and its pointer the value in
 * the document. */
MUST_USE bool apply_run(PGconn *connection, const json_t *document, const struct apply_order *order,
                        json_t **report, struct store_failure *failure);

#endif
