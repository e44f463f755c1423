/* The table of environment variables, and the checks and defaults that a table cannot express. */
#include "auth/settings.h"

#include <ctype.h>
#include <libpq-fe.h>
#include <openssl/crypto.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/address.h"
#include "common/config.h"
#include "common/http/origin.h"
#include "common/log.h"
#include "common/memory_limit.h"
#include "common/redis/redis_url.h"

static bool check_listen(const char *value, struct failure *failure)
{
    struct address address;

    return address_parse(value, &address) ||
           failure_set(failure, "give address:port such as 127.0.0.1:8080, [v6 address]:port, "
                                ":port for all addresses, or unix:/path");
}

/* RFC 8414 2: a URL without query or fragment. Refuses characters that JSON would have to
 * escape. */
static bool check_issuer(const char *value, struct failure *failure)
{
    size_t scheme = strncmp(value, "https://", 8) == 0  ? 8
                    : strncmp(value, "http://", 7) == 0 ? 7
                                                        : 0;

    for (const char *c = value; *c != '\0'; ++c) {
        if (*c <= ' ' || *c >= 0x7F || strchr("?#\"\\<>", *c) != NULL)
            scheme = 0;
    }
    return (scheme != 0 && value[scheme] != '\0' && strlen(value) <= 512) ||
           failure_set(failure, "give an https:// (or http://) URL of at most 512 characters "
                                "without query or fragment");
}

/* Whether part of a URL looks like a name; such a part is not secret and may be shown. */
static bool is_name(struct slice text)
{
    for (size_t i = 0; i != text.length; ++i) {
        if (!isalnum((unsigned char)text.bytes[i]) && strchr("+-._", text.bytes[i]) == NULL)
            return false;
    }
    return text.length != 0 && text.length <= 20;
}

static struct slice scheme_of(const char *url)
{
    const char *end = strstr(url, "://");

    return (struct slice){url, end != NULL ? (size_t)(end - url) : 0};
}

static bool has_scheme(const char *url, const char *const *allowed)
{
    for (const char *const *name = allowed; *name != NULL; ++name) {
        if (slice_equal(scheme_of(url), slice_of(*name)))
            return true;
    }
    return false;
}

/* If the scheme is the problem, replaces the general reason with one that names it. */
static void name_scheme(const char *url, const char *const *allowed, struct failure *failure)
{
    struct slice scheme = scheme_of(url);

    if (!has_scheme(url, allowed) && is_name(scheme))
        failure_set(failure, "its scheme is %.*s://, which is not taken here: give %s://",
                    (int)scheme.length, scheme.bytes, allowed[0]);
}

/* The same for a parameter that libpq rejects. */
static void name_parameter(const char *error, struct failure *failure)
{
    static const char complaint[] = "invalid URI query parameter: \"";
    const char *begin = error != NULL ? strstr(error, complaint) : NULL;
    struct slice name;

    if (begin == NULL)
        return;
    begin += strlen(complaint);
    name = (struct slice){begin, strcspn(begin, "\"")};
    if (is_name(name))
        failure_set(failure, "its parameter %.*s is none of libpq's: remove it", (int)name.length,
                    name.bytes);
}

/* libpq would take part of a password that is not percent-encoded for a host or port, and show it
 * in its messages. So the URI may have only one @, which ends the user part. */
static bool has_plain_password(const char *url)
{
    const char *authority = url + scheme_of(url).length + 3, *at = strchr(url, '@');

    return at != NULL &&
           (at >= authority + strcspn(authority, "/?#") || strchr(at + 1, '@') != NULL);
}

static bool check_database(const char *value, struct failure *failure)
{
    static const char *const schemes[] = {"postgresql", "postgres", NULL};
    PQconninfoOption *parsed = NULL;
    char *error = NULL;

    if (has_scheme(value, schemes) && !has_plain_password(value))
        parsed = PQconninfoParse(value, &error);
    if (parsed == NULL) {
        failure_set(failure, "give a libpq URI, postgresql://user:password@host:port/database, "
                             "with @ / ? # %% : in user and password percent-encoded");
        name_scheme(value, schemes, failure);
        name_parameter(error, failure);
    }
    PQfreemem(error);
    PQconninfoFree(parsed);
    return parsed != NULL;
}

static bool check_redis(const char *value, struct failure *failure)
{
    static const char *const schemes[] = {"redis", "unix", NULL};
    struct redis_url url;
    bool is_sound = redis_url_parse(value, &url);

    OPENSSL_cleanse(&url, sizeof(url));
    if (!is_sound) {
        failure_set(failure, "give redis://user:password@host:port/database or "
                             "unix:///path?db=database, with @ / ? # %% : in user and password "
                             "percent-encoded");
        name_scheme(value, schemes, failure);
    }
    return is_sound;
}

static bool check_networks(const char *value, struct failure *failure)
{
    struct network_list networks;

    return network_list_parse(value, &networks) ||
           failure_set(failure, "give addresses and networks such as 10.0.0.0/8,2001:db8::/32, "
                                "and `unix` for local sockets; at most 64");
}

static bool check_origins(const char *value, struct failure *failure)
{
    return origin_list_is_valid(value) ||
           failure_set(failure,
                       "give origins such as https://app.example.com,https://other.example.com:"
                       "8443: scheme and host in lower case, no path; or *");
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
     .help = "where to serve: address:port, [v6 address]:port, :port for all, or unix:/path"},
    {.name = "JOTD_METRICS_LISTEN",
     .offset = FIELD(metrics_listen),
     .check = check_listen,
     .help = "a separate address for /metrics, /health and /ready; default: JOTD_LISTEN"},
    {.name = "JOTD_ADMIN_LISTEN",
     .offset = FIELD(admin_listen),
     .check = check_listen,
     .help = "where to serve the administration, a loopback address or unix:/path; default: "
             "nowhere"},
    {.name = "JOTD_ADMIN_DATABASE_URL",
     .offset = FIELD(admin_database_url),
     .secret = true,
     .check = check_database,
     .help = "PostgreSQL as the administrator's role, for the administration alone; default: "
             "DATABASE_URL"},
    {.name = "JOTD_ADMIN_PLAIN",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(admin_plain),
     .default_value = "0",
     .min = 0,
     .max = 1,
     .help = "1: serve the administration without TLS on an address that others can reach too"},
    {.name = "JOTD_ISSUER",
     .offset = FIELD(issuer),
     .check = check_issuer,
     .help = "the iss of every token, an https:// URL; default on a loopback address: "
             "http://<JOTD_LISTEN>"},
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
     .help = "event loops, one thread each; auto: one per processor that the process may use"},
    {.name = "JOTD_KEYS_DIR",
     .offset = FIELD(keys_dir),
     .default_value = "keys",
     .help = "the directory of signing keys (jotd key)"},
    {.name = "JOTD_TOKEN_TTL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(token_ttl_s),
     .default_value = "3600",
     .min = 1,
     .max = TOKEN_TTL_MAX_S,
     .help = "lifetime of a token in seconds, unless the client has its own"},
    {.name = "JOTD_CLIENT_CACHE_SIZE",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_size),
     .default_value = "5000",
     .min = 1,
     .max = 1000000,
     .help = "clients that each worker caches"},
    {.name = "JOTD_CLIENT_CACHE_TTL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_ttl_s),
     .default_value = "600",
     .min = 1,
     .max = 86400,
     .help = "most seconds until a cached client is looked up again"},
    {.name = "JOTD_CLIENT_CACHE_STALE",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(client_cache_stale_s),
     .default_value = "3600",
     .min = 0,
     .max = 604800,
     .help = "seconds that an expired client may still be used while PostgreSQL is away"},
    {.name = "JOTD_BATCH_ROWS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(batch_rows),
     .default_value = "1000",
     .min = 1,
     .max = 1000000,
     .help = "rows that close a batch of the ledger, counted over the process"},
    {.name = "JOTD_BATCH_INTERVAL",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(batch_interval_s),
     .default_value = "5",
     .min = 1,
     .max = 3600,
     .help = "seconds after its first row that close a batch"},
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
     .help = "size limit of the spool in bytes, per process"},
    {.name = "JOTD_SPOOL_FULL",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(spool_full),
     .default_value = "refuse",
     .choices = spool_full,
     .help = "when the spool is full: refuse tokens, or issue them without a record"},
    {.name = "JOTD_LIMITER",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(limiter),
     .default_value = "redis",
     .choices = limiters,
     .help = "where quotas are enforced: redis, over all processes; local, by each process alone; "
             "off"},
    {.name = "JOTD_LIMITER_ON_ERROR",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(limiter_on_error),
     .default_value = "local",
     .choices = limiter_on_error,
     .help = "without Redis: local, each process enforces the whole quota; allow or deny all"},
    {.name = "JOTD_LIMITER_TIMEOUT_MS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(limiter_timeout_ms),
     .default_value = "50",
     .min = 1,
     .max = 10000,
     .help = "milliseconds that a request waits for Redis"},
    {.name = "JOTD_INTROSPECT_PER_SECOND",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(introspect_per_second),
     .default_value = "10000",
     .min = 1,
     .max = 1000000000,
     .help = "requests of a client to /introspect, /revoke and /revocations in a second, per "
             "process"},
    {.name = "JOTD_REVOCATION_STALE",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(revocation_stale_s),
     .default_value = "60",
     .min = 1,
     .max = 86400,
     .help = "seconds without PostgreSQL after which /introspect answers 503, since revocations "
             "may have been missed"},
    {.name = "JOTD_TRUSTED_PROXIES",
     .offset = FIELD(trusted_proxies_text),
     .check = check_networks,
     .help = "networks whose X-Forwarded-For is believed, as CIDRs; default: none"},
    {.name = "JOTD_CORS_ORIGINS",
     .offset = FIELD(cors_origins),
     .check = check_origins,
     .help = "origins whose pages may request and revoke tokens (CORS), or *; default: none"},
    {.name = "JOTD_DRAIN_TIMEOUT",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(drain_timeout_s),
     .default_value = "10",
     .min = 1,
     .max = 3600,
     .help = "seconds that a stop may take after SIGTERM"},
    {.name = "JOTD_IDLE_TIMEOUT",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(idle_timeout_s),
     .default_value = "75",
     .min = 1,
     .max = 3600,
     .help = "seconds that an idle keep-alive connection stays open"},
    {.name = "JOTD_MAX_CONNECTIONS",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(max_connections),
     .default_value = "10000",
     .min = 1,
     .max = 1000000,
     .help = "open connections per process; beyond it the one that is idle for longest is closed, "
             "or one whose client does not read"},
    {.name = "JOTD_MEMORY_BUDGET",
     .kind = CONFIG_NUMBER,
     .offset = FIELD(memory_budget),
     .default_value = "auto",
     .min = MEMORY_BUDGET_MIN,
     .max = 1099511627776,
     .zero_word = "auto",
     .help = "bytes that unfinished requests may hold; beyond it the largest is closed; auto: a "
             "quarter of the memory that the process may use"},
    {.name = "JOTD_LOG_LEVEL",
     .kind = CONFIG_CHOICE,
     .offset = FIELD(log_level),
     .default_value = "info",
     .choices = log_levels,
     .help = "error, warn, info or debug; the log goes to stderr"},
    {.name = "JOTD_LOG_LEVEL_FILE",
     .offset = FIELD(log_level_file),
     .help = "a file that holds one of these words and overrides JOTD_LOG_LEVEL; read at start "
             "and on SIGHUP"},
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
     .help = "a line per request: off, errors (status 400 or higher) or all"},
};

/* The processors this process may use, by its affinity mask and its cgroup (v2) quota. */
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

static long long quarter_of_memory(void)
{
    long long quarter = (long long)(memory_limit() / 4);

    return quarter < MEMORY_BUDGET_MIN ? MEMORY_BUDGET_MIN : quarter;
}

/* Kubernetes sets JOTD_SERVICE_* and JOTD_PORT* for a Service named jotd. */
static bool is_kubernetes(const char *name)
{
    return strncmp(name, "JOTD_SERVICE_", 13) == 0 || strcmp(name, "JOTD_PORT") == 0 ||
           strncmp(name, "JOTD_PORT_", 10) == 0;
}

static void warn_unknown(const char *name, const char *nearest)
{
    log_warn("config.unknown", log_str("name", name), log_str("nearest", nearest),
             log_str("reason", "jotd has no such variable; is the nearest one meant?"));
}

/* A loopback address needs no issuer: such a server is a trial. */
static bool default_issuer(struct settings *settings, unsigned needs, struct failure *failure)
{
    struct address address;

    if (settings->issuer != NULL)
        return true;
    if (address_parse(settings->listen, &address) && address_is_loopback(&address)) {
        if (asprintf(&settings->issuer, "http://%s", settings->listen) < 0)
            return failure_set(failure, "out of memory");
        settings->issuer_is_default = true;
    } else if ((needs & SETTINGS_NEED_ISSUER) != 0) {
        return failure_set(failure,
                           "JOTD_ISSUER is not set: give the https:// URL by which clients reach "
                           "this server; it becomes the iss of every token");
    }
    return true;
}

/* Tokens and secrets must not cross a network in the clear. */
static bool check_admin(struct settings *settings, struct failure *failure)
{
    struct address address;

    if (settings->admin_database_url == NULL && settings->database_url != NULL &&
        (settings->admin_database_url = strdup(settings->database_url)) == NULL)
        return failure_set(failure, "out of memory");
    if (settings->admin_listen == NULL)
        return true;
    if (strcmp(settings->admin_listen, settings->listen) == 0 ||
        (settings->metrics_listen != NULL &&
         strcmp(settings->admin_listen, settings->metrics_listen) == 0))
        return failure_set(failure, "JOTD_ADMIN_LISTEN is an address that another listener has: "
                                    "give it one of its own, such as 127.0.0.1:8082");
    return settings->admin_plain != 0 || !address_parse(settings->admin_listen, &address) ||
           address.socket.any.sa_family == AF_UNIX || address_is_loopback(&address) ||
           failure_set(failure,
                       "JOTD_ADMIN_LISTEN=%.80s can be reached from elsewhere, and tokens and "
                       "secrets would cross the network in the clear: give a loopback address or "
                       "unix:/path, with a proxy in front that does TLS, or set JOTD_ADMIN_PLAIN=1",
                       settings->admin_listen);
}

void settings_warn(const struct settings *settings)
{
    struct address address;

    if (settings->issuer_is_default)
        log_warn(
            "issuer.defaulted", log_str("issuer", settings->issuer),
            log_str(
                "reason",
                "JOTD_ISSUER is not set: clients that use another URL find an iss in their tokens "
                "that does not match it"));
    /* Failed authentications are limited by address: the client's, not the proxy's. */
    if (network_list_is_everyone(&settings->trusted_proxies))
        log_warn(
            "config.everyone_is_trusted", log_str("name", "JOTD_TRUSTED_PROXIES"),
            log_str(
                "reason",
                "a network in it is wider than /8 (IPv6: /16): anyone there can claim any address, "
                "and so escape the limits per address; name the proxies alone"));
    if (settings->trusted_proxies_text == NULL && address_parse(settings->listen, &address) &&
        !address_is_loopback(&address))
        log_warn(
            "config.nobody_is_trusted", log_str("name", "JOTD_TRUSTED_PROXIES"),
            log_str(
                "reason",
                "it is not set: behind a proxy all clients share the proxy's address, so one that "
                "keeps failing to authenticate slows down the others; name the proxies, or "
                "127.0.0.1 "
                "if there are none"));
}

bool settings_load(struct settings *settings, unsigned needs, struct failure *failure)
{
    const char *format = getenv("JOTD_LOG_FORMAT");

    *settings = (struct settings){0};
    settings->log_format = isatty(STDERR_FILENO) ? LOG_FORMAT_TEXT : LOG_FORMAT_JSON;
    /* Known first, so that errors in other settings are logged in this format. */
    if (format != NULL && strcmp(format, "text") == 0)
        settings->log_format = LOG_FORMAT_TEXT;
    else if (format != NULL && strcmp(format, "json") == 0)
        settings->log_format = LOG_FORMAT_JSON;
    log_setup(LOG_LEVEL_INFO,
              (needs & SETTINGS_FOR_SERVER) != 0 ? settings->log_format : LOG_FORMAT_TEXT);
    if (!config_load(options, COUNT_OF(options), settings, failure))
        return false;
    log_setup(settings->log_level,
              (needs & SETTINGS_FOR_SERVER) != 0 ? settings->log_format : LOG_FORMAT_TEXT);
    config_find_unknown(options, COUNT_OF(options), "JOTD_", is_kubernetes, warn_unknown);
    if (settings->metrics_listen != NULL &&
        strcmp(settings->metrics_listen, settings->listen) == 0) {
        free(settings->metrics_listen); /* one address for both */
        settings->metrics_listen = NULL;
    }
    if (settings->trusted_proxies_text != NULL &&
        !network_list_parse(settings->trusted_proxies_text, &settings->trusted_proxies))
        return failure_set(failure, "JOTD_TRUSTED_PROXIES cannot be read");
    if (settings->workers == 0)
        settings->workers = processors();
    if (settings->memory_budget == 0)
        settings->memory_budget = quarter_of_memory();
    if ((needs & SETTINGS_NEED_DATABASE) != 0 && settings->database_url == NULL)
        return failure_set(failure, "DATABASE_URL is not set: give a libpq URI, "
                                    "postgresql://user:password@host:port/database");
    return default_issuer(settings, needs, failure) && check_admin(settings, failure);
}

void settings_dispose(struct settings *settings)
{
    config_dispose(options, COUNT_OF(options), settings);
}

const struct config_option *settings_options(size_t *count)
{
    *count = COUNT_OF(options);
    return options;
}

void settings_print(const struct settings *settings, FILE *out)
{
    config_print(options, COUNT_OF(options), settings, out);
}
