#include "auth/store/client_change.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "auth/store/client_attributes.h"
#include "auth/store/identity.h"

static bool check_scope(const char *text, struct store_failure *failure)
{
    struct slice scope = slice_of(text);

    return scope.length == 0 || (scope.length <= SCOPE_MAX && scope_is_valid(scope)) ||
           store_fail(
               failure, STORE_INVALID, "/scope",
               "a scope is at most %d bytes of tokens separated by single spaces; a token is "
               "printable ASCII without space, \" and \\",
               SCOPE_MAX);
}

/* RFC 8707 2: an absolute URI (RFC 3986 4.3), or a URN, without a fragment. */
static bool is_absolute_uri(const char *text)
{
    size_t scheme =
        strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.");

    return isalpha((unsigned char)text[0]) && text[scheme] == ':' && text[scheme + 1] != '\0' &&
           strchr(text, '#') == NULL;
}

/* An audience is limited to the characters of a scope token, so that audiences can be joined like
 * those. */
static bool check_audience(const char *audience, const char *pointer, struct store_failure *failure)
{
    if (strlen(audience) > CLIENT_AUDIENCE_MAX || !scope_is_valid(slice_of(audience)) ||
        strchr(audience, ' ') != NULL)
        return store_fail(failure, STORE_INVALID, pointer,
                          "an audience is a URI of at most %d bytes: printable ASCII without "
                          "space, \" and \\",
                          CLIENT_AUDIENCE_MAX);
    return is_absolute_uri(audience) ||
           store_fail(failure, STORE_INVALID, pointer,
                      "an audience is an absolute URI without a fragment, such as "
                      "https://api.example.com or urn:example:api");
}

/* Removes duplicate tokens. */
static void join_scope(const char *text, char scope[SCOPE_MAX + 1])
{
    struct slice given = slice_of(text), tokens[SCOPE_TOKENS_MAX];
    size_t length = 0;

    scope_sort(given, tokens);
    if (!scope_grant(given, tokens, scope_count(given), scope, &length))
        length = 0; /* not reached: it grants itself */
    scope[length] = '\0';
}

/* Validates the audiences and joins them without duplicates. */
static bool join_audiences(const char *const *audiences, size_t given, const char *pointer,
                           char joined[CLIENT_CHANGE_AUDIENCES_SIZE], struct store_failure *failure)
{
    size_t length = 0, count = 0;

    joined[0] = '\0';
    for (size_t i = 0; i != given; ++i) {
        struct slice audience = slice_of(audiences[i]);

        if (audience.length == 0 || scope_has((struct slice){joined, length}, audience))
            continue;
        if (!check_audience(audiences[i], pointer, failure))
            return false;
        if (count++ == CLIENT_MAX_AUDIENCES)
            return store_fail(failure, STORE_INVALID, pointer, "a client has at most %d audiences",
                              CLIENT_MAX_AUDIENCES);
        if (length != 0)
            joined[length++] = ' ';
        memcpy(joined + length, audience.bytes, audience.length + 1);
        length += audience.length;
    }
    return true;
}

/* As audiences, or `*` for all. */
static bool join_introspect(const struct client_change *change, struct client_columns *columns,
                            struct store_failure *failure)
{
    bool has_all = false;

    for (size_t i = 0; i != change->introspect_count; ++i)
        has_all = has_all || strcmp(change->introspect[i], "*") == 0;
    if (!has_all)
        return join_audiences(change->introspect, change->introspect_count, "/introspect",
                              columns->introspect, failure);
    if (change->introspect_count != 1)
        return store_fail(failure, STORE_INVALID, "/introspect",
                          "*, which stands for all audiences, cannot be given with others");
    strcpy(columns->introspect, "*");
    return true;
}

static bool check_ttl(const long long *ttl_s, struct store_failure *failure)
{
    return ttl_s == NULL || (*ttl_s >= 0 && *ttl_s <= CLIENT_MAX_TTL_S) ||
           store_fail(failure, STORE_INVALID, "/token_ttl",
                      "a token_ttl is a whole number from 0 to %d", CLIENT_MAX_TTL_S);
}

/* The empty text is none. */
static bool check_organization(const char *organization, struct store_failure *failure)
{
    return organization == NULL || *organization == '\0' ||
           identity_check(organization, "an organization", "/organization", failure);
}

static bool make_attributes(const struct client_change *change, struct client_columns *columns,
                            struct store_failure *failure)
{
    return (change->label_object != NULL
                ? client_attributes_label_object(change->label_object, &columns->labels, failure)
                : client_attributes_labels(change->labels, change->label_count, &columns->labels,
                                           failure)) &&
           (change->claim_object != NULL
                ? client_attributes_claim_object(change->claim_object, &columns->claims, failure)
                : client_attributes_claims(change->claims, change->claim_count, &columns->claims,
                                           failure));
}

bool client_change_prepare(const struct client_change *change, struct client_columns *columns,
                           struct store_failure *failure)
{
    *columns = (struct client_columns){0};
    if ((change->name != NULL && !identity_check_name(change->name, failure)) ||
        (change->scope != NULL && !check_scope(change->scope, failure)) ||
        !check_ttl(change->token_ttl_s, failure) ||
        !check_organization(change->organization, failure))
        return false;
    join_scope(change->scope != NULL ? change->scope : "", columns->scope);
    integer_write(change->token_ttl_s != NULL ? *change->token_ttl_s : 0, columns->token_ttl);
    return join_audiences(change->audiences, change->audience_count, "/audiences",
                          columns->audiences, failure) &&
           join_introspect(change, columns, failure) && make_attributes(change, columns, failure);
}

void client_change_dispose(struct client_columns *columns)
{
    free(columns->labels);
    free(columns->claims);
}

bool client_change_check(const struct client_change *change, struct store_failure *failure)
{
    struct client_columns columns;
    bool valid = client_change_prepare(change, &columns, failure);

    client_change_dispose(&columns);
    return valid;
}

bool client_change_is_empty(const struct client_change *change)
{
    return change->name == NULL && change->tier == NULL && change->scope == NULL &&
           change->audience_count == 0 && change->token_ttl_s == NULL &&
           change->organization == NULL && change->introspect_count == 0 &&
           change->label_count == 0 && change->claim_count == 0 && change->is_enabled == NULL &&
           change->label_object == NULL && change->claim_object == NULL;
}
