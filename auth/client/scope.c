#include "auth/client/scope.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

size_t scope_count(struct slice scope)
{
    struct slice token;
    size_t count = 0;

    while (scope_next(&scope, &token))
        ++count;
    return count;
}

static int compare(const void *a_, const void *b_)
{
    const struct slice *a = a_, *b = b_;
    int order = memcmp(a->bytes, b->bytes, a->length < b->length ? a->length : b->length);

    return order != 0 ? order : (a->length > b->length) - (a->length < b->length);
}

void scope_sort(struct slice scope, struct slice *tokens)
{
    size_t count = 0;

    while (scope_next(&scope, &tokens[count]))
        ++count;
    qsort(tokens, count, sizeof(*tokens), compare);
}

bool scope_grant(struct slice asked, const struct slice *allowed, size_t count, char *out,
                 size_t *length)
{
    uint64_t granted[SCOPE_TOKENS_MAX / 64] = {0};
    struct slice token;

    *length = 0;
    while (scope_next(&asked, &token)) {
        const struct slice *found;
        size_t index;

        if (token.length == 0)
            continue;
        found = bsearch(&token, allowed, count, sizeof(*allowed), compare);
        if (found == NULL)
            return false;
        index = (size_t)(found - allowed);
        if ((granted[index / 64] & UINT64_C(1) << index % 64) != 0)
            continue;
        granted[index / 64] |= UINT64_C(1) << index % 64;
        if (*length != 0)
            out[(*length)++] = ' ';
        memcpy(out + *length, token.bytes, token.length);
        *length += token.length;
    }
    return true;
}
