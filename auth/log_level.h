/* The level of the log while the server runs. */
#ifndef AUTH_LOG_LEVEL_H
#define AUTH_LOG_LEVEL_H

#include "auth/settings.h"

/* Sets it to the word in JOTD_LOG_LEVEL_FILE, where there is one, else to JOTD_LOG_LEVEL. */
void log_level_apply(const struct settings *settings);

#endif
