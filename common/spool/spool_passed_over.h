/* Spool files with a valid name that are not sent, because of what they are or because the disk
 * cannot read them: each is logged and counted once.
 */
#ifndef COMMON_SPOOL_SPOOL_PASSED_OVER_H
#define COMMON_SPOOL_SPOOL_PASSED_OVER_H

#include "common/counter.h"

#define SPOOL_PASSED_OVER_MAX 1000 /* files; more are passed over silently */

/* Zero it to start. */
struct spool_passed_over {
    struct spool_known *known; /* by path */
    struct counter files;
};

void spool_passed_over_add(struct spool_passed_over *passed_over, const char *path,
                           const char *reason);
void spool_passed_over_dispose(struct spool_passed_over *passed_over);

#endif
