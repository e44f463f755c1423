/* The commands, each defined in the file of its name. */
#ifndef AUTH_COMMAND_COMMANDS_H
#define AUTH_COMMAND_COMMANDS_H

#include "auth/command/cli.h"

extern const struct cli_command command_apply, command_audit, command_client, command_config,
    command_export, command_healthcheck, command_init, command_key, command_ledger, command_migrate,
    command_organization, command_tier, command_token;

/* Subcommands defined outside their group's file. */
extern const struct cli_command command_client_create, command_client_delete,
    command_client_disable, command_client_enable, command_client_revoke_secret,
    command_client_revoke_tokens, command_client_rotate, command_client_update, command_key_rotate,
    command_ledger_flush, command_ledger_prune, command_ledger_retry, command_tier_usage;

#endif
