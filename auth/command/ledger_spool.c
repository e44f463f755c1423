#include "auth/command/ledger_spool.h"

#include <errno.h>
#include <unistd.h>

#include "auth/ledger/ledger_row.h"

bool ledger_spool_list(const char *base, struct spool_entry **entries, struct failure *failure)
{
    *entries = NULL;
    if (access(base, F_OK) == -1 && errno == ENOENT)
        return failure_set(failure, "there is no %s; JOTD_SPOOL_DIR says where the spool is", base);
    return spool_list(base, LEDGER_ROW_FORMAT, entries, failure);
}
