#include "auth/store/client_document.h"

#include <string.h>

#include "auth/store/document.h"

static const char *const members[] = {"client_id",  "name",
                                      "tier",       "organization",
                                      "scopes",     "audiences",
                                      "introspect", "claims",
                                      "labels",     "token_ttl",
                                      "enabled",    "created_at",
                                      "updated_at", "tokens_valid_from",
                                      "version",    NULL};

/* One item is one token, so that none can smuggle in another. */
static bool join_scopes(const char *const *scopes, size_t count, char joined[SCOPE_MAX + 1],
                        struct store_failure *failure)
{
    size_t length = 0;

    joined[0] = '\0';
    for (size_t i = 0; i != count; ++i) {
        struct slice scope = slice_of(scopes[i]);

        if (!scope_is_valid(scope) || memchr(scope.bytes, ' ', scope.length) != NULL)
            return store_fail(failure, STORE_INVALID, "/scopes",
                              "a scope is printable ASCII without space, \" and \\");
        if (length + 1 + scope.length > SCOPE_MAX)
            return store_fail(failure, STORE_INVALID, "/scopes",
                              "scopes have at most %d bytes together", SCOPE_MAX);
        if (length != 0)
            joined[length++] = ' ';
        memcpy(joined + length, scope.bytes, scope.length + 1);
        length += scope.length;
    }
    return true;
}

static bool read_scopes(const json_t *json, struct client_document *document,
                        struct store_failure *failure)
{
    const char *scopes[SCOPE_TOKENS_MAX];
    size_t count = 0;

    document->change.scope = document->scope;
    return document_list(json, "scopes", scopes, SCOPE_TOKENS_MAX, &count, failure) &&
           join_scopes(scopes, count, document->scope, failure);
}

/* A list that is given has at least one item; an empty text is passed over. */
static bool read_audiences(const json_t *json, const char *name, const char **items, size_t *count,
                           struct store_failure *failure)
{
    items[0] = "";
    if (!document_list(json, name, items, CLIENT_MAX_AUDIENCES, count, failure))
        return false;
    if (*count == 0)
        *count = 1;
    return true;
}

static bool check_id(const json_t *json, const char *client_id, struct store_failure *failure)
{
    const char *given = NULL;

    return document_text(json, "client_id", &given, failure) &&
           (given == NULL || client_id == NULL || strcmp(given, client_id) == 0 ||
            store_fail(failure, STORE_INVALID, "/client_id",
                       "client_id is not the one that is changed; an id stays"));
}

bool client_document_read(const json_t *json, const char *client_id,
                          struct client_document *document, struct store_failure *failure)
{
    struct client_change *change = &document->change;

    *document = (struct client_document){
        .change = {.tier = CLIENT_CHANGE_DEFAULT_TIER, .organization = "", .replaces = true},
        .is_enabled = true};
    change->audiences = document->audiences;
    change->introspect = document->introspect;
    change->token_ttl_s = &document->token_ttl_s;
    change->is_enabled = &document->is_enabled;
    return document_check(json, members, failure) && check_id(json, client_id, failure) &&
           document_text(json, "name", &change->name, failure) &&
           document_text(json, "tier", &change->tier, failure) &&
           document_text(json, "organization", &change->organization, failure) &&
           read_scopes(json, document, failure) &&
           read_audiences(json, "audiences", document->audiences, &change->audience_count,
                          failure) &&
           read_audiences(json, "introspect", document->introspect, &change->introspect_count,
                          failure) &&
           document_integer(json, "token_ttl", &document->token_ttl_s, failure) &&
           document_boolean(json, "enabled", &document->is_enabled, failure) &&
           document_object(json, "labels", &change->label_object, failure) &&
           document_object(json, "claims", &change->claim_object, failure);
}

bool client_document_check_name(const struct client_document *document,
                                struct store_failure *failure)
{
    return document->change.name != NULL ||
           store_fail(failure, STORE_INVALID, "/name", "a client needs a name");
}

/* The text has each value as a string; of a claim, its JSON. */
static json_t *attributes(const char *text, bool are_json)
{
    json_t *object = text != NULL ? json_loads(text, 0, NULL) : json_object(), *value;
    const char *name;

    json_object_foreach(object, name, value)
    {
        if (are_json)
            json_object_set_new(object, name,
                                json_loads(json_string_value(value), JSON_DECODE_ANY, NULL));
    }
    return object;
}

json_t *client_document_complete(const struct client_document *document,
                                 struct store_failure *failure)
{
    const struct client_change *change = &document->change;
    struct client_columns columns;
    json_t *complete = NULL;

    if (client_change_prepare(change, &columns, failure))
        complete =
            json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "name", change->name,
                      "tier", change->tier, "organization",
                      *change->organization != '\0' ? change->organization : NULL, "scopes",
                      document_words(columns.scope), "audiences", document_words(columns.audiences),
                      "introspect", document_words(columns.introspect), "claims",
                      attributes(columns.claims, true), "labels", attributes(columns.labels, false),
                      "token_ttl",
                      document->token_ttl_s != 0 ? json_integer(document->token_ttl_s)
                                                 : json_null(),
                      "enabled", document->is_enabled);
    client_change_dispose(&columns);
    return complete;
}

json_t *client_document_parse(const char *json)
{
    json_t *parsed = json_loads(json, 0, NULL);

    return parsed != NULL ? parsed : json_string(json);
}

json_t *client_document(const struct client_values *client)
{
    return json_pack(
        "{s:s, s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s?, s:s, s:s, s:o}",
        "client_id", client->client_id, "name", client->name, "tier", client->tier, "organization",
        client->organization, "scopes", document_words(client->scope), "audiences",
        document_words(client->audiences), "introspect", document_words(client->introspect),
        "claims", client_document_parse(client->claims), "labels",
        client_document_parse(client->labels), "token_ttl", document_number(client->token_ttl),
        "enabled", client->is_enabled, "tokens_valid_from", client->tokens_valid_from, "created_at",
        client->created_at, "updated_at", client->updated_at, "version",
        document_number(client->version));
}
