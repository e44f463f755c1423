/* What the environment says: one struct, filled from the table in settings.c. */
#ifndef AUTH_SETTINGS_H
#define AUTH_SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/network.h"

#define TOKEN_TTL_MAX 86400 /* seconds; also the bound of clients.token_ttl */
#define WORKERS_MAX   256

#define MEMORY_BUDGET_MIN 1048576 /* bytes */

/* What happens to a token for whose record there is no room. */
enum spool_full {
    SPOOL_FULL_REFUSE,
    SPOOL_FULL_DROP,
};

/* Where clients are held to their quota. */
enum limiter_mode {
    LIMITER_REDIS,
    LIMITER_LOCAL, /* each process by itself */
    LIMITER_OFF,
};

/* What happens while Redis is away. */
enum limiter_on_error {
    LIMITER_ON_ERROR_LOCAL,
    LIMITER_ON_ERROR_ALLOW,
    LIMITER_ON_ERROR_DENY,
};

struct settings {
    char *listen;
    char *metrics_listen; /* NULL: as listen */
    char *issuer;         /* NULL only where SETTINGS_NEED_ISSUER was not asked for */
    bool issuer_is_default;
    char *database_url; /* NULL only where SETTINGS_NEED_DATABASE was not asked for */
    long long workers;  /* resolved: at least 1 */
    char *keys_dir;
    long long token_ttl;        /* seconds */
    char *trusted_proxies_text; /* NULL: none */
    struct network_list trusted_proxies;
    char *cors_origins; /* NULL: none */
    long long client_cache_size;
    long long client_cache_ttl;   /* seconds */
    long long client_cache_stale; /* seconds */
    long long batch_rows;
    long long batch_interval; /* seconds */
    char *spool_dir;
    long long spool_max_bytes;
    long long spool_full; /* an enum spool_full */
    char *redis_url;
    long long limiter;          /* an enum limiter_mode */
    long long limiter_on_error; /* an enum limiter_on_error */
    long long limiter_timeout_ms;
    long long drain_timeout; /* seconds */
    long long idle_timeout;  /* seconds */
    long long max_connections;
    long long memory_budget; /* bytes; resolved: at least MEMORY_BUDGET_MIN */
    long long log_level;     /* an enum log_level */
    char *log_level_file;    /* NULL: none */
    long long log_format;    /* an enum log_format */
    long long access_log;    /* an enum access_log */
};

/* What a command cannot do without; the rest is checked all the same. */
enum settings_need {
    SETTINGS_NEED_NOTHING = 0,
    SETTINGS_NEED_DATABASE = 1, /* DATABASE_URL */
    SETTINGS_NEED_ISSUER = 2,   /* JOTD_ISSUER, where it has no default */
    SETTINGS_FOR_SERVER = 4,    /* whose log may be for machines; commands speak to people */
};

/* Reads the environment, sets up the log, warns of unknown JOTD_ names. The caller disposes, also
 * after a failure. */
MUST_USE bool settings_load(struct settings *settings, unsigned needs, struct failure *failure);
/* Says in the log what may not be meant as it is. For the server. */
void settings_warn(const struct settings *settings);

void settings_dispose(struct settings *settings);

/* Every variable with its effective value, one `NAME=value` a line, secrets masked. */
void settings_print(const struct settings *settings, FILE *out);

#endif
