/* Settings from the environment: one struct, filled from the table in settings.c. */
#ifndef AUTH_SETTINGS_H
#define AUTH_SETTINGS_H

#include <stdbool.h>
#include <stdio.h>

#include "auth/quota/limiter_mode.h"
#include "auth/token/issue_mode.h"
#include "common/attributes.h"
#include "common/config.h"
#include "common/failure.h"
#include "common/http/access_note.h"
#include "common/log.h"
#include "common/network.h"

#define TOKEN_TTL_MAX_S 86400 /* also the maximum of clients.token_ttl */
#define WORKERS_MAX     256

#define MEMORY_BUDGET_MIN 1048576 /* bytes */

struct settings {
    char *listen;
    char *metrics_listen;     /* NULL: same as listen */
    char *admin_listen;       /* NULL: no administration by HTTP */
    char *admin_database_url; /* resolved: not NULL where database_url is not */
    long long admin_plain;    /* 1: without TLS on any address */
    char *issuer;             /* NULL only without SETTINGS_NEED_ISSUER */
    bool issuer_is_default;
    char *database_url; /* NULL only without SETTINGS_NEED_DATABASE */
    long long workers;  /* resolved: at least 1 */
    char *keys_dir;
    long long token_ttl_s;
    char *trusted_proxies_text; /* NULL: none */
    struct network_list trusted_proxies;
    char *cors_origins; /* NULL: none */
    long long client_cache_size;
    long long client_cache_ttl_s;
    long long client_cache_stale_s;
    long long batch_rows;
    long long batch_interval_s;
    char *spool_dir;
    long long spool_max_bytes;
    enum issue_without_room spool_full;
    char *redis_url;
    enum limiter_mode limiter;
    enum limiter_on_error limiter_on_error;
    long long limiter_timeout_ms;
    long long drain_timeout_s;
    long long idle_timeout_s;
    long long max_connections;
    long long introspect_per_second; /* requests of a client, per process */
    long long revocation_stale_s;
    long long memory_budget; /* bytes; resolved: at least MEMORY_BUDGET_MIN */
    enum log_level log_level;
    char *log_level_file; /* NULL: none */
    enum log_format log_format;
    enum access_log access_log;
};

/* Settings that a command requires. All others are still checked. */
enum settings_need {
    SETTINGS_NEED_NOTHING = 0,
    SETTINGS_NEED_DATABASE = 1, /* DATABASE_URL */
    SETTINGS_NEED_ISSUER = 2,   /* JOTD_ISSUER, unless it has a default */
    SETTINGS_FOR_SERVER = 4,    /* log in JOTD_LOG_FORMAT; commands always log text */
};

/* Reads the environment, sets up the log and warns about unknown JOTD_ names. The caller must call
 * settings_dispose, even after a failure. */
MUST_USE bool settings_load(struct settings *settings, unsigned needs, struct failure *failure);
/* Logs a warning for each setting that is valid but probably not intended. For the server. */
void settings_warn(const struct settings *settings);

void settings_dispose(struct settings *settings);

/* The table of variables. */
const struct config_option *settings_options(size_t *count);

/* Prints every variable's effective value, one `NAME=value` per line, with secrets masked. */
void settings_print(const struct settings *settings, FILE *out);

#endif
