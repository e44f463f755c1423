/* The table of environment variables, and what needs more than a table: see settings.h. */
#include "auth/settings.h"

#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/address.h"
#include "common/config.h"
#include "common/log.h"
#include "common/redis_url.h"

static const char *check_listen(const char *value)
{
    struct address address;

    return address_parse(value, &address)
               ? NULL
               : "address:port such as 127.0.0.1:8080, [v6 address]:port, or unix:/path";
}

/* RFC 8414 2: a URL without query or fragment. What JSON would have to escape is refused. */
static const char *check_issuer(const char *value)
{
    size_t scheme = strncmp(value, "https://", 8) == 0  ? 8
                    : strncmp(value, "http://", 7) == 0 ? 7
                                                        : 0;

    for (const char *c = value; *c != '\0'; ++c) {
        if (*c <= ' ' || *c >= 0x7F || strchr("?#\"\\<>", *c) != NULL)
            scheme = 0;
    }
    return scheme != 0 && value[scheme] != '\0' && strlen(value) <= 512
               ? NULL
               : "an https:// (or http://) URL of at most 512 characters without query or fragment";
}

/* libpq would take part of a password that is not percent-encoded for a host or a port, and its
 * messages would show it: the one @ that may stand in the URI ends the user part. */
static const char *check_database(const char *value)
{
    const char *scheme = strstr(value, "://"), *at = strchr(value, '@');
    char *error = NULL;
    PQconninfoOption *parsed = NULL;

    if ((strncmp(value, "postgresql://", 13) == 0 || strncmp(value, "postgres://", 11) == 0) &&
        (at == NULL ||
         (at < scheme + 3 + strcspn(scheme + 3, "/?#") && strchr(at + 1, '@') == NULL)))
        parsed = PQconninfoParse(value, &error);
    PQfreemem(error);
    PQconninfoFree(parsed);
    return parsed != NULL ? NULL
                          : "a libpq URI, postgresql://user:password@host:port/database, with "
                            "@ / ? # % : in user and password percent-encoded";
}

static const char *check_redis(const char *value)
{
    struct redis_url url;
    bool parsed = redis_url_parse(value, &url);

    OPENSSL_cleanse(&url, sizeof(url));
    return parsed ? NULL
                  : "redis://user:password@host:port/database or unix:///path?db=database, with "
                    "@ / ? # % : in user and password percent-encoded";
}

static const char *check_networks(const char *value)
{
    struct networks networks;

    return networks_parse(value, &networks)
               ? NULL
               : "addresses and networks such as 10.0.0.0/8,2001:db8::/32, and `unix` for local "
                 "sockets; at most 64";
}

static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};
static const char *const log_formats[] = {"text", "json", NULL};

static const char *const access_logs[] = {"off", "errors", "all", NULL};
static const char *const spool_full[] = {"refuse", "drop", NULL};
static const char *const limiters[] = {"redis", "local", "off", NULL};
static const char *const limiter_on_error[] = {"local", "allow", "deny", NULL};

#define FIELD(name) offsetof(struct settings, name)

static const struct config_option options[] = {
    {.name = "JOTD_LISTEN",
     .offset = FIELD(listen),
     .default_value = "127.0.0.1:8080",
     .check = check_listen,
     .help = "where to serve: address:port, [v6 address]:port or unix:/path"},
    {.name = "JOTD_METRICS_LISTEN",
     .offset = FIELD(metrics_listen),
     .check = check_listen,
     .help = "an address of their own for /metrics, /health and /ready; default: JOTD_LISTEN"},
    {.name = "JOTD_ISSUER",
     .offset = FIELD(issuer),
     .check = check_issuer,
     .help = "the iss of every token; default on a loopback address: http://<JOTD_LISTEN>"},
    {.name = "DATABASE_URL",
     .offset = FIELD(database_url),
     .secret = true,
     .check = check_database,
     .help = "PostgreSQL, as a libpq URI; required"},
    {.name = "REDIS_URL",
     .offset = FIELD(redis_url),
     .default_value = "redis://127.0.0.1:6379/0",
     .secret = true,
     .check = check_redis,
     .help = "Redis, which holds the quotas: redis://user:password@host:port/database"},
    {.name = "JOTD_WORKERS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(workers),
     .default_value = "auto",
     .min = 1,
     .max = WORKERS_MAX,
     .zero_word = "auto",
     .help = "event loops, one thread each; auto: the processors that the process may use"},
    {.name = "JOTD_KEYS_DIR",
     .offset = FIELD(keys_dir),
     .default_value = "keys",
     .help = "the directory of signing keys (jotd key)"},
    {.name = "JOTD_TOKEN_TTL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(token_ttl),
     .default_value = "3600",
     .min = 1,
     .max = TOKEN_TTL_MAX,
     .help = "lifetime of a token in seconds, for clients that have none of their own"},
    {.name = "JOTD_CLIENT_CACHE_SIZE",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_size),
     .default_value = "5000",
     .min = 1,
     .max = 1000000,
     .help = "clients that each worker keeps in memory"},
    {.name = "JOTD_CLIENT_CACHE_TTL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_ttl),
     .default_value = "600",
     .min = 1,
     .max = 86400,
     .help = "seconds after which a cached client is looked up again"},
    {.name = "JOTD_CLIENT_CACHE_STALE",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_stale),
     .default_value = "3600",
     .min = 0,
     .max = 604800,
     .help = "seconds that an expired client may still serve while PostgreSQL is away"},
    {.name = "JOTD_BATCH_ROWS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(batch_rows),
     .default_value = "1000",
     .min = 1,
     .max = 1000000,
     .help = "rows of the ledger that close a batch, recorded by the whole process"},
    {.name = "JOTD_BATCH_INTERVAL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(batch_interval),
     .default_value = "5",
     .min = 1,
     .max = 3600,
     .help = "seconds after the first row that close a batch"},
    {.name = "JOTD_SPOOL_DIR",
     .offset = FIELD(spool_dir),
     .default_value = "spool",
     .help = "where issued tokens wait for PostgreSQL"},
    {.name = "JOTD_SPOOL_MAX_BYTES",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(spool_max_bytes),
     .default_value = "1073741824",
     .min = 32768,
     .max = 1099511627776,
     .help = "the bound of the spool, per process"},
    {.name = "JOTD_SPOOL_FULL",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(spool_full),
     .default_value = "refuse",
     .choices = spool_full,
     .help = "at the bound: refuse tokens, or drop their records"},
    {.name = "JOTD_LIMITER",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(limiter),
     .default_value = "redis",
     .choices = limiters,
     .help = "where clients are held to the quota of their tier: redis; local, each process by "
             "itself; off"},
    {.name = "JOTD_LIMITER_ON_ERROR",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(limiter_on_error),
     .default_value = "local",
     .choices = limiter_on_error,
     .help = "without Redis: local, each process holds clients to the whole quota; allow; deny"},
    {.name = "JOTD_LIMITER_TIMEOUT_MS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(limiter_timeout_ms),
     .default_value = "50",
     .min = 1,
     .max = 10000,
     .help = "milliseconds after which a request goes on without Redis"},
    {.name = "JOTD_TRUSTED_PROXIES",
     .offset = FIELD(trusted_proxies_text),
     .check = check_networks,
     .help = "networks whose X-Forwarded-For is believed, as CIDRs; default: none"},
    {.name = "JOTD_DRAIN_TIMEOUT",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(drain_timeout),
     .default_value = "10",
     .min = 1,
     .max = 3600,
     .help = "seconds from SIGTERM to the end"},
    {.name = "JOTD_IDLE_TIMEOUT",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(idle_timeout),
     .default_value = "75",
     .min = 1,
     .max = 3600,
     .help = "seconds that a keep-alive connection may idle"},
    {.name = "JOTD_MAX_CONNECTIONS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(max_connections),
     .default_value = "10000",
     .min = 1,
     .max = 1000000,
     .help = "open connections of the process; at the bound the longest idle one is closed first"},
    {.name = "JOTD_LOG_LEVEL",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(log_level),
     .default_value = "info",
     .choices = log_levels,
     .help = "error, warn, info or debug; the log goes to stderr"},
    {.name = "JOTD_LOG_LEVEL_FILE",
     .offset = FIELD(log_level_file),
     .help = "a file with one of these words, read at start and on SIGHUP, which wins"},
    {.name = "JOTD_LOG_FORMAT",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(log_format),
     .choices = log_formats,
     .help = "text or json; default: text on a terminal, else json"},
    {.name = "JOTD_ACCESS_LOG",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(access_log),
     .default_value = "off",
     .choices = access_logs,
     .help = "a line for each request: off, errors (statuses from 400 on) or all"},
};

/* The processors that the scheduler and the cgroup (v2) let this process use. */
static long long processors(void)
{
    cpu_set_t allowed;
    long long count =
        sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    FILE *cgroup = fopen("/sys/fs/cgroup/cpu.max", "re");
    long long quota, period;

    if (cgroup != NULL) {
        if (fscanf(cgroup, "%lld %lld", &quota, &period) == 2 && quota > 0 && period > 0) {
            long long limit = (quota + period - 1) / period;

            count = limit < count ? limit : count;
        }
        fclose(cgroup);
    }
    return count < 1 ? 1 : count > WORKERS_MAX ? WORKERS_MAX : count;
}

/* Kubernetes puts JOTD_SERVICE_* and JOTD_PORT* into the environment for a Service named jotd. */
static bool is_kubernetes(const char *name)
{
    return strncmp(name, "JOTD_SERVICE_", 13) == 0 || strcmp(name, "JOTD_PORT") == 0 ||
           strncmp(name, "JOTD_PORT_", 10) == 0;
}

static void warn_unknown(const char *name, const char *nearest)
{
    log_warn("config.unknown", log_str("name", name), log_str("nearest", nearest),
             log_str("reason", "this variable means nothing to jotd; was the nearest one meant?"));
}

/* A loopback address needs no issuer: what it serves is a trial. */
static bool default_issuer(struct settings *settings, unsigned needs, struct failure *failure)
{
    struct address address;

    if (settings->issuer != NULL)
        return true;
    if (address_parse(settings->listen, &address) && address_is_loopback(&address)) {
        if (asprintf(&settings->issuer, "http://%s", settings->listen) < 0)
            return failure_set(failure, "out of memory");
    } else if ((needs & SETTINGS_NEED_ISSUER) != 0) {
        return failure_set(failure,
                           "JOTD_ISSUER is not set: give the https:// URL by which clients reach "
                           "this server; it becomes the iss of every token");
    }
    return true;
}

bool settings_load(struct settings *settings, unsigned needs, struct failure *failure)
{
    *settings = (struct settings){0};
    settings->log_format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    if (!config_load(options, COUNT_OF(options), settings, failure))
        return false;
    log_setup((enum log_level)settings->log_level, (needs & SETTINGS_FOR_SERVER) != 0
                                                       ? (enum log_format)settings->log_format
                                                       : LOG_FORMAT_TEXT);
    config_find_unknown(options, COUNT_OF(options), "JOTD_", is_kubernetes, warn_unknown);
    if (settings->metrics_listen != NULL &&
        strcmp(settings->metrics_listen, settings->listen) == 0) {
        free(settings->metrics_listen); /* one address for both */
        settings->metrics_listen = NULL;
    }
    if (settings->trusted_proxies_text != NULL &&
        !networks_parse(settings->trusted_proxies_text, &settings->trusted_proxies))
        return failure_set(failure, "JOTD_TRUSTED_PROXIES cannot be read");
    if (settings->workers == 0)
        settings->workers = processors();
    if ((needs & SETTINGS_NEED_DATABASE) != 0 && settings->database_url == NULL)
        return failure_set(failure, "DATABASE_URL is not set: give a libpq URI, "
                                    "postgresql://user:password@host:port/database");
    return default_issuer(settings, needs, failure);
}

void settings_dispose(struct settings *settings)
{
    config_dispose(options, COUNT_OF(options), settings);
}

void settings_print(const struct settings *settings, FILE *out)
{
    config_print(options, COUNT_OF(options), settings, out);
}
