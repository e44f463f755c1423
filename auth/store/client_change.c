#include "auth/store/client_change.h"

#include <ctype.h>
#include <string.h>

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
static bool check_audience(const char *audience, struct store_failure *failure)
{
    if (*audience == '\0')
        return true;
    if (strlen(audience) > CLIENT_AUDIENCE_MAX || !scope_is_valid(slice_of(audience)) ||
        strchr(audience, ' ') != NULL)
        return store_fail(failure, STORE_INVALID, "/audiences",
                          "an audience is a URI of at most %d bytes: printable ASCII without "
                          "space, \" and \\",
                          CLIENT_AUDIENCE_MAX);
    return is_absolute_uri(audience) ||
           store_fail(failure, STORE_INVALID, "/audiences",
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

/* Joins the audiences without duplicates; false if there are too many. */
static bool join_audiences(const struct client_change *change, struct client_columns *columns,
                           struct store_failure *failure)
{
    size_t length = 0, count = 0;

    columns->audiences[0] = '\0';
    for (size_t i = 0; i != change->audience_count; ++i) {
        struct slice audience = slice_of(change->audiences[i]);

        if (audience.length == 0 || scope_has((struct slice){columns->audiences, length}, audience))
            continue;
        if (count++ == CLIENT_MAX_AUDIENCES)
            return store_fail(failure, STORE_INVALID, "/audiences",
                              "a client has at most %d audiences", CLIENT_MAX_AUDIENCES);
        if (length != 0)
            columns->audiences[length++] = ' ';
        memcpy(columns->audiences + length, audience.bytes, audience.length + 1);
        length += audience.length;
    }
    return true;
}

bool client_change_prepare(const struct client_change *change, struct client_columns *columns,
                           struct store_failure *failure)
{
    if (change->name != NULL && !identity_check_name(change->name, failure))
        return false;
    if (change->scope != NULL && !check_scope(change->scope, failure))
        return false;
    for (size_t i = 0; i != change->audience_count; ++i) {
        if (!check_audience(change->audiences[i], failure))
            return false;
    }
    if (change->token_ttl_s != NULL &&
        (*change->token_ttl_s < 0 || *change->token_ttl_s > CLIENT_MAX_TTL_S))
        return store_fail(failure, STORE_INVALID, "/token_ttl",
                          "a token_ttl is a whole number from 0 to %d", CLIENT_MAX_TTL_S);
    join_scope(change->scope != NULL ? change->scope : "", columns->scope);
    return join_audiences(change, columns, failure);
}

bool client_change_check(const struct client_change *change, struct store_failure *failure)
{
    struct client_columns columns;

    return client_change_prepare(change, &columns, failure);
}

bool client_change_is_empty(const struct client_change *change)
{
    return change->name == NULL && change->tier == NULL && change->scope == NULL &&
           change->audience_count == 0 && change->token_ttl_s == NULL;
}
