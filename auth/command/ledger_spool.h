/* The spool that the commands of `jotd ledger` look at. */
#ifndef AUTH_COMMAND_LEDGER_SPOOL_H
#define AUTH_COMMAND_LEDGER_SPOOL_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/spool/spool_list.h"

/* spool_list; says so when there is no such directory, which may be the wrong one. */
MUST_USE bool ledger_spool_list(const char *base, struct spool_entry **entries,
                                struct failure *failure);

#endif
