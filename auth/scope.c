/* Scope values: see scope.h. */
#include "auth/scope.h"

bool scope_next(struct slice *rest, struct slice *token)
{
    const char *space;

    if (rest->length == 0)
        return false;
    space = memchr(rest->bytes, ' ', rest->length);
    if (space == NULL) {
        *token = *rest;
        rest->length = 0;
        return true;
    }
    token->bytes = rest->bytes;
    token->length = (size_t)(space - rest->bytes);
    rest->bytes += token->length + 1;
    rest->length -= token->length + 1;
    return true;
}

bool scope_has(struct slice scope, struct slice wanted)
{
    struct slice token;

    while (scope_next(&scope, &token)) {
        if (slice_equal(token, wanted))
            return true;
    }
    return false;
}

bool scope_is_valid(struct slice scope)
{
    char before = ' ';

    for (size_t i = 0; i < scope.length; i++) {
        char c = scope.bytes[i];

        if (c < 0x20 || c > 0x7e || c == '"' || c == '\\' || (c == ' ' && before == ' '))
            return false;
        before = c;
    }
    return before != ' ';
}

bool scope_is_subset(struct slice asked, struct slice allowed)
{
    struct slice token;

    while (scope_next(&asked, &token)) {
        if (!scope_has(allowed, token))
            return false;
    }
    return true;
}

size_t scope_without_repeats(struct slice asked, char *out)
{
    struct slice token;
    size_t length = 0;

    while (scope_next(&asked, &token)) {
        if (scope_has((struct slice){out, length}, token))
            continue;
        if (length > 0)
            out[length++] = ' ';
        memcpy(out + length, token.bytes, token.length);
        length += token.length;
    }
    return length;
}
