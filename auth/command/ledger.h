/* The arguments of `jotd ledger`, checked, and the commands that take them. */
#ifndef AUTH_COMMAND_LEDGER_H
#define AUTH_COMMAND_LEDGER_H

#include <stdbool.h>

#include "auth/command/cli.h"
#include "auth/command/command.h"
#include "common/attributes.h"
#include "common/spool/spool.h"

enum ledger_option {
    LEDGER_OPTION_JSON = ADMIN_FIRST_OPTION,
    LEDGER_OPTION_EXPIRED,
    LEDGER_OPTION_KEEP_MONTHS,
    LEDGER_OPTION_DRY_RUN,
};

struct ledger_arguments {
    bool json;
    bool expired;
    const char *keep_months; /* NULL: not given */
    bool dry_run;
};

/* Reads `options`; no command takes anything else. False with the exit status when the command
 * ends here. */
MUST_USE bool ledger_arguments_read(const struct cli_command *command, int argc, char **argv,
                                    const struct option *options,
                                    struct ledger_arguments *arguments, int *status);

/* spool_list; says so when there is no such directory, which may be the wrong one. */
MUST_USE bool ledger_list(const char *base, struct spool_entry **entries, struct failure *failure);

/* The command functions of struct cli_command. */
int ledger_run_flush(const struct cli_command *command, int argc, char **argv);
int ledger_run_retry(const struct cli_command *command, int argc, char **argv);
int ledger_run_prune(const struct cli_command *command, int argc, char **argv);

#endif
