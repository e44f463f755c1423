/* Files of the spool that have a good name and are not sent, for what they are or because the disk
 * does not give them: each is logged and counted once.
 */
#ifndef COMMON_SPOOL_SPOOL_PASSED_OVER_H
#define COMMON_SPOOL_SPOOL_PASSED_OVER_H

#include "common/counter.h"

#define SPOOL_PASSED_OVER_MAX 1000 /* files; what is more is passed over without a word */

/* Zero it to start. */
struct spool_passed_over {
    struct spool_known *known; /* by path */
    struct counter files;
};

void spool_passed_over_add(struct spool_passed_over *passed_over, const char *path,
                           const char *reason);
void spool_passed_over_dispose(struct spool_passed_over *passed_over);

#endif
