/* The spool as the commands of `jotd ledger` see it. */
#ifndef AUTH_COMMAND_LEDGER_SPOOL_H
#define AUTH_COMMAND_LEDGER_SPOOL_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/spool/spool_list.h"

/* As spool_list, but fails if there is no such directory: it may be the wrong one. */
MUST_USE bool ledger_spool_list(const char *base, struct spool_entry **entries,
                                struct failure *failure);

#endif
