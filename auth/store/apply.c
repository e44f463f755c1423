/* For each kind, in an order in which none names what is made later: reads what is there, compares,
 * and changes what differs through the operations of its store.
 */
#include "auth/store/apply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/store/client_store.h"
#include "auth/store/document.h"
#include "auth/store/identity.h"
#include "auth/store/organization_store.h"
#include "auth/store/secret_store.h"
#include "auth/store/tier_store.h"

#define AT_ONCE 1000 /* clients that are read in one statement */

/* A run of one document. */
struct run {
    PGconn *connection;
    const struct apply_order *order;
    struct guard guard;
    json_t *live; /* the clients' live secrets: `ID SHA256` */
    json_t *changes;
    json_int_t unchanged;
    struct store_failure *failure;
};

/* What the kinds differ in. */
struct kind {
    const char *object;  /* as in the audit log */
    const char *members; /* the array in the document */
    const char *id;      /* the member with the id */
    bool (*check_id)(const char *id, struct store_failure *failure);
    /* Puts the documents that exist into `found`, by id. */
    bool (*find)(struct run *run, const json_t *ids, json_t *found);
    /* The document with all that PUT would set; NULL with the failure. */
    json_t *(*complete)(struct run *run, const char *id, const json_t *document);
    PGresult *(*put)(struct run *run, const char *id, const json_t *document, bool *was_made);
    json_t *(*document)(const PGresult *result);
    bool (*delete)(struct run *run, const char *id);
};

/* Tiers */

static bool find_tiers(struct run *run, const json_t *ids, json_t *found)
{
    PGresult *tiers = tier_store_list(run->connection, run->failure);

    (void)ids;
    for (int row = 0; row < PQntuples(tiers); ++row) {
        struct tier_values tier = tier_store_values(tiers, (size_t)row);

        json_object_set_new(found, tier.name, tier_store_document(&tier));
    }
    PQclear(tiers);
    return tiers != NULL;
}

static json_t *limit(long long value)
{
    return value > 0 ? json_integer(value) : json_null();
}

static json_t *complete_tier(struct run *run, const char *id, const json_t *document)
{
    struct tier_settings settings;

    if (!tier_store_read(document, id, &settings, run->failure))
        return NULL;
    return json_pack("{s:o, s:o, s:o, s:o}", "per_minute", limit(settings.limits[QUOTA_MINUTE]),
                     "per_hour", limit(settings.limits[QUOTA_HOUR]), "per_month",
                     limit(settings.limits[QUOTA_MONTH]), "token_ttl", limit(settings.token_ttl_s));
}

static PGresult *put_tier(struct run *run, const char *id, const json_t *document, bool *was_made)
{
    return tier_store_put(run->connection, &run->guard, id, document, was_made, run->failure);
}

static json_t *tier_document(const PGresult *result)
{
    struct tier_values tier = tier_store_values(result, 0);

    return tier_store_document(&tier);
}

static bool delete_tier(struct run *run, const char *id)
{
    return tier_store_delete(run->connection, &run->guard, id, run->failure);
}

/* Organizations */

static bool find_organizations(struct run *run, const json_t *ids, json_t *found)
{
    const struct organization_filter all = {0};
    PGresult *organizations = organization_store_list(run->connection, &all, run->failure);

    (void)ids;
    for (int row = 0; row < PQntuples(organizations); ++row) {
        struct organization_values values = organization_store_values(organizations, (size_t)row);

        json_object_set_new(found, values.organization_id, organization_store_document(&values));
    }
    PQclear(organizations);
    return organizations != NULL;
}

static json_t *complete_organization(struct run *run, const char *id, const json_t *document)
{
    struct organization_change change;
    bool is_enabled;

    if (!organization_store_read(document, id, &change, &is_enabled, run->failure))
        return NULL;
    return json_pack("{s:s, s:s, s:b}", "name", change.name, "tier", change.tier, "enabled",
                     is_enabled);
}

static PGresult *put_organization(struct run *run, const char *id, const json_t *document,
                                  bool *was_made)
{
    return organization_store_put(run->connection, &run->guard, id, document, was_made,
                                  run->failure);
}

static json_t *organization_document(const PGresult *result)
{
    struct organization_values values = organization_store_values(result, 0);

    return organization_store_document(&values);
}

static bool delete_organization(struct run *run, const char *id)
{
    PGresult *deleted = organization_store_delete(run->connection, &run->guard, id, run->failure);

    PQclear(deleted);
    return deleted != NULL;
}

/* Clients */

static bool find_secrets(struct run *run, const json_t *ids)
{
    PGresult *live = secret_store_list_live(run->connection, ids, run->failure);

    for (int row = 0; row < PQntuples(live); ++row) {
        char key[CLIENT_ID_MAX + 2 + 2 * SECRET_DIGEST_LENGTH];

        snprintf(key, sizeof(key), "%s %s", PQgetvalue(live, row, 0), PQgetvalue(live, row, 1));
        json_object_set_new(run->live, key, json_true());
    }
    PQclear(live);
    return live != NULL;
}

static bool find_clients(struct run *run, const json_t *ids, json_t *found)
{
    for (size_t at = 0; at < json_array_size(ids); at += AT_ONCE) {
        json_t *some = json_array();
        PGresult *clients;
        bool done;

        for (size_t i = at; i < at + AT_ONCE && i < json_array_size(ids); ++i)
            json_array_append(some, json_array_get(ids, i));
        clients = client_store_find_all(run->connection, some, run->failure);
        done = clients != NULL && find_secrets(run, some);
        json_decref(some);
        for (int row = 0; row < PQntuples(clients); ++row) {
            struct client_values client = client_store_values(clients, (size_t)row);

            json_object_set_new(found, client.client_id, client_document(&client));
        }
        PQclear(clients);
        if (!done)
            return false;
    }
    return true;
}

/* The client's own part of a document. */
static json_t *without_secrets(const json_t *document)
{
    json_t *own = json_copy((json_t *)document);

    json_object_del(own, "secrets");
    return own;
}

static json_t *complete_client(struct run *run, const char *id, const json_t *document)
{
    struct client_document read;
    json_t *own = without_secrets(document), *complete = NULL;

    if (client_document_read(own, id, &read, run->failure) &&
        client_document_check_name(&read, run->failure))
        complete = client_document_complete(&read, run->failure);
    json_decref(own);
    return complete;
}

static PGresult *put_client(struct run *run, const char *id, const json_t *document, bool *was_made)
{
    json_t *own = without_secrets(document);
    PGresult *client =
        client_store_put(run->connection, &run->guard, id, own, was_made, run->failure);

    json_decref(own);
    return client;
}

static json_t *client_row_document(const PGresult *result)
{
    struct client_values client = client_store_values(result, 0);

    return client_document(&client);
}

static bool delete_client(struct run *run, const char *id)
{
    PGresult *deleted = client_store_delete(run->connection, &run->guard, id, run->failure);

    PQclear(deleted);
    return deleted != NULL;
}

static const struct kind kinds[] = {
    {.object = "tier",
     .members = "tiers",
     .id = "name",
     .check_id = tier_store_check_name,
     .find = find_tiers,
     .complete = complete_tier,
     .put = put_tier,
     .document = tier_document,
     .delete = delete_tier},
    {.object = "organization",
     .members = "organizations",
     .id = "organization_id",
     .check_id = organization_store_check_id,
     .find = find_organizations,
     .complete = complete_organization,
     .put = put_organization,
     .document = organization_document,
     .delete = delete_organization},
    {.object = "client",
     .members = "clients",
     .id = "client_id",
     .check_id = client_store_check_id,
     .find = find_clients,
     .complete = complete_client,
     .put = put_client,
     .document = client_row_document,
     .delete = delete_client},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* Failures */

static void name_object(struct run *run, const struct kind *kind, const char *id)
{
    struct failure why = run->failure->why;

    failure_set(&run->failure->why, "%s %.64s: %.400s", kind->object, id, why.reason);
}

/* Says which object it was, and where it stands in the document. */
static bool blame(struct run *run, const struct kind *kind, const char *id, size_t index)
{
    struct store_failure *failure = run->failure;
    char pointer[STORE_POINTER_SIZE];

    name_object(run, kind, id);
    snprintf(pointer, sizeof(pointer), "/%s/%zu%.100s", kind->members, index, failure->pointer);
    snprintf(failure->pointer, sizeof(failure->pointer), "%s", pointer);
    if (failure->kind == STORE_NOT_FOUND)
        failure->kind = STORE_INVALID; /* a value names what is not there */
    return false;
}

/* One object */

static bool is_same(const json_t *complete, const json_t *found)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)complete, name, value)
    {
        if (!json_equal(value, json_object_get(found, name)))
            return false;
    }
    return true;
}

static void note(struct run *run, const struct kind *kind, const char *action, const char *id,
                 json_t *before, json_t *after, size_t secrets)
{
    json_array_append_new(run->changes,
                          json_pack("{s:s, s:s, s:s, s:O?, s:o?, s:I}", "action", action, "object",
                                    kind->object, "id", id, "before", before, "after", after,
                                    "secrets", (json_int_t)secrets));
}

static bool is_live(const struct run *run, const char *id, const struct secret_digest *digest)
{
    char key[CLIENT_ID_MAX + 2 + 2 * SECRET_DIGEST_LENGTH];
    int length = snprintf(key, sizeof(key), "%s ", id);

    for (size_t i = 0; i != SECRET_DIGEST_LENGTH; ++i)
        length += snprintf(key + length, sizeof(key) - (size_t)length, "%02x", digest->bytes[i]);
    return json_object_get(run->live, key) != NULL;
}

/* Adds the secrets that the client does not have. */
static bool add_secrets(struct run *run, const char *id, const json_t *document, size_t *added)
{
    static const char *const members[] = {"sha256", NULL};
    const json_t *secrets = json_object_get(document, "secrets");
    json_t *secret;
    size_t index;

    *added = 0;
    if (secrets == NULL)
        return true;
    if (!json_is_array(secrets))
        return store_fail(run->failure, STORE_INVALID, "/secrets",
                          "secrets is an array of {\"sha256\": HEX}");
    json_array_foreach(secrets, index, secret)
    {
        struct secret_digest digest;
        const char *sha256 = "";
        bool is_new;

        if (!document_check(secret, members, run->failure) ||
            !document_text(secret, "sha256", &sha256, run->failure) ||
            !secret_store_read_sha256(sha256, &digest, run->failure))
            return false;
        if (is_live(run, id, &digest))
            continue;
        if (!client_store_keep_secret(run->connection, &run->guard, id, &digest, &is_new,
                                      run->failure))
            return false;
        *added += is_new;
    }
    return true;
}

static bool own(struct run *run, const struct kind *kind, const char *id)
{
    const char *const values[] = {kind->object, id, run->order->set_name};
    PGresult *result = store_query(run->connection,
                                   "INSERT INTO applied_objects (object, object_id, set_name)"
                                   " VALUES ($1, $2, $3)",
                                   3, values, run->failure);

    PQclear(result);
    return result != NULL;
}

/* Changes it, and adds its secrets; `found` is NULL for a new one. */
static bool change(struct run *run, const struct kind *kind, const char *id, const json_t *document,
                   json_t *found, bool is_equal)
{
    PGresult *result = NULL;
    json_t *after = NULL;
    bool was_made = false, done = true;
    size_t secrets = 0;

    if (!is_equal) {
        result = kind->put(run, id, document, &was_made);
        done = result != NULL;
        after = done ? kind->document(result) : NULL;
        PQclear(result);
    }
    done = done && add_secrets(run, id, document, &secrets) && (!was_made || own(run, kind, id));
    if (!done || (secrets == 0 && (is_equal || json_equal(found, after)))) {
        run->unchanged += done; /* PostgreSQL took it for what it had */
        json_decref(after);
        return done;
    }
    note(run, kind, was_made ? "create" : "update", id, found,
         after != NULL ? after : json_incref(found), secrets);
    return true;
}

static bool apply_one(struct run *run, const struct kind *kind, const char *id,
                      const json_t *document, json_t *found)
{
    json_t *complete = kind->complete(run, id, document);
    bool is_equal;

    if (complete == NULL)
        return false;
    is_equal = found != NULL && is_same(complete, found);
    json_decref(complete);
    if (is_equal && json_object_get(document, "secrets") == NULL) {
        ++run->unchanged;
        return true;
    }
    return change(run, kind, id, document, found, is_equal);
}

/* One kind */

/* The ids of the documents; NULL when one has none, or is there twice. */
static json_t *ids_of(struct run *run, const struct kind *kind, const json_t *documents)
{
    json_t *ids = json_array(), *seen = json_object(), *document;
    bool sound = true;
    size_t index;

    json_array_foreach(documents, index, document)
    {
        const char *id = json_string_value(json_object_get(document, kind->id));

        if (id == NULL)
            sound = store_fail(run->failure, STORE_INVALID, "", "%s is missing", kind->id);
        else if (json_object_get(seen, id) != NULL)
            sound = store_fail(run->failure, STORE_INVALID, "", "it is there twice");
        else
            sound = kind->check_id(id, run->failure);
        if (!sound) {
            blame(run, kind, id != NULL ? id : "without id", index);
            break;
        }
        json_object_set_new(seen, id, json_true());
        json_array_append_new(ids, json_string(id));
    }
    json_decref(seen);
    if (sound)
        return ids;
    json_decref(ids);
    return NULL;
}

/* The ids as an array of PostgreSQL; they need no quoting. The caller frees it. */
static char *array_text(const json_t *ids)
{
    char *text = json_dumps(ids, JSON_COMPACT);

    if (text != NULL) {
        text[0] = '{';
        text[strlen(text) - 1] = '}';
    }
    return text;
}

/* An object is of one set. */
static bool check_sets(struct run *run, const struct kind *kind, const json_t *ids)
{
    char *text = array_text(ids);
    const char *const values[] = {kind->object, text, run->order->set_name};
    PGresult *other = store_query(run->connection,
                                  "SELECT object_id, set_name FROM applied_objects"
                                  " WHERE object = $1 AND object_id = ANY ($2::text[])"
                                  " AND set_name <> $3 ORDER BY object_id LIMIT 1",
                                  3, values, run->failure);
    bool sound = other != NULL && PQntuples(other) == 0;

    if (other != NULL && !sound)
        store_fail(run->failure, STORE_CONFLICT, "", "%s %.64s belongs to the set %.64s",
                   kind->object, PQgetvalue(other, 0, 0), PQgetvalue(other, 0, 1));
    PQclear(other);
    free(text);
    return sound;
}

static bool apply_documents(struct run *run, const struct kind *kind, const json_t *documents,
                            const json_t *ids)
{
    json_t *found = json_object(), *document;
    bool done = check_sets(run, kind, ids) && kind->find(run, ids, found);
    size_t index;

    json_array_foreach(documents, index, document)
    {
        const char *id = json_string_value(json_array_get(ids, index));

        if (!done)
            break;
        done = apply_one(run, kind, id, document, json_object_get(found, id)) ||
               blame(run, kind, id, index);
    }
    json_decref(found);
    return done;
}

static bool apply_kind(struct run *run, const struct kind *kind, const json_t *document)
{
    const json_t *documents = json_object_get(document, kind->members);
    json_t *ids;
    bool done;

    if (documents == NULL)
        return true;
    if (!json_is_array(documents)) {
        store_fail(run->failure, STORE_INVALID, "", "%s is an array", kind->members);
        store_point_to(run->failure, "", kind->members);
        return false;
    }
    if ((ids = ids_of(run, kind, documents)) == NULL)
        return false;
    done = apply_documents(run, kind, documents, ids);
    json_decref(ids);
    return done;
}

/* Pruning */

static PGresult *list_others(struct run *run, const struct kind *kind, const json_t *documents)
{
    json_t *ids = ids_of(run, kind, documents);
    char *text = ids != NULL ? array_text(ids) : NULL;
    const char *const values[] = {kind->object, run->order->set_name, text};
    PGresult *others = NULL;

    if (text != NULL)
        others = store_query(run->connection,
                             "SELECT object_id FROM applied_objects WHERE object = $1"
                             " AND set_name = $2 AND object_id <> ALL ($3::text[])"
                             " ORDER BY object_id",
                             3, values, run->failure);
    free(text);
    json_decref(ids);
    return others;
}

static bool prune_kind(struct run *run, const struct kind *kind, const json_t *document)
{
    const json_t *documents = json_object_get(document, kind->members);
    PGresult *others;
    bool done = true;

    if (documents == NULL)
        return true;
    if ((others = list_others(run, kind, documents)) == NULL)
        return false;
    for (int row = 0; done && row != PQntuples(others); ++row) {
        const char *id = PQgetvalue(others, row, 0);

        done = kind->delete (run, id);
        if (done)
            note(run, kind, "delete", id, NULL, NULL, 0);
        else
            name_object(run, kind, id);
    }
    PQclear(others);
    return done;
}

bool apply_check_set(const char *set_name, struct store_failure *failure)
{
    return identity_check(set_name, "a set's", "/set", failure);
}

static bool run_all(struct run *run, const json_t *document)
{
    static const char *const members[] = {"tiers", "organizations", "clients", NULL};
    bool done = document_check(document, members, run->failure);

    for (size_t i = 0; done && i != KINDS; ++i)
        done = apply_kind(run, kinds + i, document);
    for (size_t i = KINDS; done && run->order->prunes && i-- != 0;)
        done = prune_kind(run, kinds + i, document);
    return done;
}

/* Nobody is to wait forever for somebody else's transaction. */
static bool begin(PGconn *connection, bool *own_transaction, struct store_failure *failure)
{
    return store_begin_own(connection, own_transaction, failure) &&
           (!*own_transaction ||
            store_execute(connection, "SET LOCAL lock_timeout = '30s'", failure));
}

static bool end(PGconn *connection, bool own_transaction, bool is_dry_run,
                struct store_failure *failure)
{
    if (own_transaction && is_dry_run)
        store_roll_back(connection);
    else if (own_transaction)
        return store_commit(connection, failure);
    return true;
}

bool apply_run(PGconn *connection, const json_t *document, const struct apply_order *order,
               json_t **report, struct store_failure *failure)
{
    struct run run = {.connection = connection, .order = order, .failure = failure};
    bool own_transaction = false, done;

    run.guard = order->guard != NULL ? *order->guard : (struct guard){.governs = true};
    run.guard.versions = NULL;
    run.guard.needs_versions = run.guard.is_new = false;
    run.live = json_object();
    run.changes = json_array();
    done = apply_check_set(order->set_name, failure) &&
           begin(connection, &own_transaction, failure) && run_all(&run, document) &&
           end(connection, own_transaction, order->is_dry_run, failure);
    *report =
        done ? json_pack("{s:O, s:I}", "changes", run.changes, "unchanged", run.unchanged) : NULL;
    json_decref(run.live);
    json_decref(run.changes);
    return done;
}
