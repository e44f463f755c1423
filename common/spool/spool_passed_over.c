#include "common/spool/spool_passed_over.h"

#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/map.h"

struct spool_known {
    UT_hash_handle hh;
    char path[];
};

void spool_passed_over_add(struct spool_passed_over *passed_over, const char *path,
                           const char *reason)
{
    struct spool_known *known;

    HASH_FIND_STR(passed_over->known, path, known);
    if (known != NULL || HASH_COUNT(passed_over->known) == SPOOL_PASSED_OVER_MAX ||
        (known = malloc(sizeof(*known) + strlen(path) + 1)) == NULL)
        return;
    strcpy(known->path, path);
    HASH_ADD_STR(passed_over->known, path, known);
    counter_add(&passed_over->files, 1);
    log_error("spool.passed_over", log_str("path", path), log_str("reason", reason));
}

void spool_passed_over_dispose(struct spool_passed_over *passed_over)
{
    struct spool_known *known = passed_over->known, *next;

    HASH_CLEAR(hh, passed_over->known);
    for (; known != NULL; known = next) {
        next = known->hh.next;
        free(known);
    }
}
