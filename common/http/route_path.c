#include "common/http/route_path.h"

bool route_path_matches(const char *pattern, struct slice path,
                        struct slice parts[ROUTE_PATH_PARTS_MAX])
{
    size_t part = 0, at = 0;

    while (*pattern != '\0' && at != path.length) {
        size_t start = at;

        if (*pattern != '{') {
            if (*pattern++ != path.bytes[at++])
                return false;
            continue;
        }
        pattern = strchr(pattern, '}') + 1;
        while (at != path.length && path.bytes[at] != '/')
            ++at;
        if (at == start)
            return false;
        parts[part++] = (struct slice){path.bytes + start, at - start};
    }
    return *pattern == '\0' && at == path.length;
}
