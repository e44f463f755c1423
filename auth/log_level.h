/* The log level, which can change while the server runs. */
#ifndef AUTH_LOG_LEVEL_H
#define AUTH_LOG_LEVEL_H

#include "auth/settings.h"

/* Sets the level from JOTD_LOG_LEVEL_FILE; without that file, or if it names no level, from
 * JOTD_LOG_LEVEL. */
void log_level_apply(const struct settings *settings);

#endif
