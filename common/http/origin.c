#include "common/http/origin.h"

#include <string.h>

static bool next_origin(const char **rest, struct slice *origin)
{
    *rest += strspn(*rest, ", ");
    *origin = (struct slice){*rest, strcspn(*rest, ", ")};
    *rest += origin->length;
    return origin->length != 0;
}

static size_t scheme_length(struct slice origin)
{
    if (origin.length > 7 && memcmp(origin.bytes, "http://", 7) == 0)
        return 7;
    return origin.length > 8 && memcmp(origin.bytes, "https://", 8) == 0 ? 8 : 0;
}

static bool is_origin(struct slice origin)
{
    size_t scheme = scheme_length(origin);

    for (size_t i = scheme; i != origin.length; ++i) {
        if (strchr("abcdefghijklmnopqrstuvwxyz0123456789.-:[]", origin.bytes[i]) == NULL)
            return false;
    }
    return scheme != 0;
}

bool origin_list_is_valid(const char *list)
{
    struct slice origin;

    while (next_origin(&list, &origin)) {
        if (!slice_equal(origin, SLICE("*")) && !is_origin(origin))
            return false;
    }
    return true;
}

struct slice origin_list_find(const char *list, struct slice origin)
{
    struct slice entry;

    while (next_origin(&list, &entry)) {
        if (slice_equal(entry, SLICE("*")) || slice_equal(entry, origin))
            return entry;
    }
    return SLICE("");
}
