#include "auth/store/guard.h"

#include <string.h>

#include "auth/client/scope.h"

static bool is_listed(const char *versions, const char *version)
{
    size_t length = strlen(version);

    for (const char *at = versions; *at != '\0'; at += strspn(at, ",")) {
        size_t listed = strcspn(at, ",");

        if (listed == length && memcmp(at, version, length) == 0)
            return true;
        at += listed;
    }
    return false;
}

bool guard_check_version(const struct guard *guard, const char *version,
                         struct store_failure *failure)
{
    if (guard == NULL)
        return true;
    if (guard->is_new && version != NULL)
        return store_fail(failure, STORE_CHANGED, "", "it exists already");
    if (guard->versions == NULL)
        return version == NULL || !guard->needs_versions ||
               store_fail(failure, STORE_UNSEEN, "",
                          "say which version you have seen, so that nobody else's change is lost");
    if (version == NULL)
        return store_fail(failure, STORE_CHANGED, "", "it does not exist");
    return strcmp(guard->versions, "*") == 0 || is_listed(guard->versions, version) ||
           store_fail(failure, STORE_CHANGED, "",
                      "it was changed since: read it again, and make the change to that version");
}

bool guard_check_governs(const struct guard *guard, const char *what, struct store_failure *failure)
{
    return guard == NULL || guard->governs ||
           store_fail(failure, STORE_FORBIDDEN, "", "changing %s needs the scope %s", what,
                      GUARD_SCOPE_ADMIN);
}

bool guard_has_reserved_scope(const char *scope)
{
    struct slice rest = slice_of(scope), token;

    while (scope_next(&rest, &token)) {
        if (token.length >= strlen(GUARD_RESERVED_SCOPE) &&
            memcmp(token.bytes, GUARD_RESERVED_SCOPE, strlen(GUARD_RESERVED_SCOPE)) == 0)
            return true;
    }
    return false;
}

bool guard_check_client(const struct guard *guard, const struct guard_client *client,
                        struct store_failure *failure)
{
    if (guard == NULL || guard->governs)
        return true;
    if (guard_has_reserved_scope(client->scope))
        return store_fail(failure, STORE_FORBIDDEN, "/scopes",
                          "a client with a scope jotd:… is changed and made only with the scope %s",
                          GUARD_SCOPE_ADMIN);
    if (scope_has(slice_of(client->introspect), SLICE("*")))
        return store_fail(failure, STORE_FORBIDDEN, "/introspect",
                          "a client that may ask about all tokens is changed and made only with "
                          "the scope %s",
                          GUARD_SCOPE_ADMIN);
    return !scope_has(slice_of(client->audiences), slice_of(guard->admin_audience)) ||
           store_fail(failure, STORE_FORBIDDEN, "/audiences",
                      "a client with the audience of the administration is changed and made only "
                      "with the scope %s",
                      GUARD_SCOPE_ADMIN);
}
