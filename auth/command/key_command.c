#include "auth/command/key_command.h"

#include <unistd.h>

#include "auth/token/key_file.h"
#include "common/owner.h"

bool key_command_read_alg(const struct cli_command *command, const char *given, enum key_alg *alg,
                          int *status)
{
    if (given == NULL || key_alg_parse(given, alg))
        return true;
    *status = cli_usage(command, "--alg is one of ES256, RS256, HS256");
    return false;
}

int key_command_run(const void *values, void (*ask_database)(const struct settings *settings),
                    bool (*act)(const struct settings *settings, const void *values,
                                struct failure *failure))
{
    struct settings settings;
    struct failure failure;
    bool done = settings_load(&settings, SETTINGS_NEED_NOTHING, &failure);
    int lock;

    if (done && ask_database != NULL)
        ask_database(&settings);
    done = done && owner_become(settings.keys_dir, &failure);
    lock = done ? key_file_lock(settings.keys_dir) : -1;
    done = done && act(&settings, values, &failure);
    if (lock != -1)
        close(lock);
    settings_dispose(&settings);
    return done ? CLI_DONE : cli_fail(&failure);
}
