#include "auth/command/ledger_spool.h"
#include "common/spool/spool_list.h"

#include <errno.h>
#include <unistd.h>

bool ledger_spool_list(const char *base, struct spool_entry **entries, struct failure *failure)
{
    *entries = NULL;
    if (access(base, F_OK) == -1 && errno == ENOENT)
        return failure_set(failure, "there is no %s; JOTD_SPOOL_DIR says where the spool is", base);
    return spool_list(base, entries, failure);
}
