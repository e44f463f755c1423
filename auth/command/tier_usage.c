/* `jotd tier usage`: what a client has used of its quota, as Redis knows it: the limiter's script,
 * asked for no token.
 */
#include "auth/command/tier_usage.h"

#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/command.h"
#include "auth/quota/limiter_script.h"
#include "auth/settings.h"
#include "common/redis/redis_url.h"
#include "common/time_text.h"

#define OPTION_JSON ADMIN_FIRST_OPTION

static const struct timeval patience = {5, 0};

struct usage {
    const char *client_id;
    char tier[64];
    struct quota quota;
    struct quota_left left;
    int64_t now_ms; /* by Redis, Unix milliseconds */
};

static bool read_quota(PGconn *connection, struct usage *usage, struct failure *failure)
{
    PGresult *result =
        admin_query(connection,
                    "SELECT t.name, coalesce(t.per_minute, 0), coalesce(t.per_hour, 0),"
                    " coalesce(t.per_month, 0) FROM clients c JOIN tiers t ON t.name = c.tier"
                    " WHERE c.client_id = $1",
                    1, &usage->client_id, failure);
    bool found = result != NULL && PQntuples(result) == 1;

    if (found) {
        snprintf(usage->tier, sizeof(usage->tier), "%s", PQgetvalue(result, 0, 0));
        for (int w = 0; w != QUOTA_WINDOWS; ++w)
            usage->quota.limits[w] = strtoll(PQgetvalue(result, 0, 1 + w), NULL, 10);
    } else if (result != NULL) {
        failure_set(failure, "there is no client of that id: `jotd client list` shows them");
    }
    PQclear(result);
    return found;
}

/* One command; false with the first word of Redis's reason when it fails: what follows may repeat
 * what was sent, such as a password. */
static bool ask(redisContext *redis, struct failure *failure, redisReply **reply, int count,
                const char **arguments, const size_t *lengths)
{
    const char *reason;

    *reply = redisCommandArgv(redis, count, arguments, lengths);
    if (*reply != NULL && (*reply)->type != REDIS_REPLY_ERROR)
        return true;
    reason = *reply != NULL ? (*reply)->str : redis->errstr;
    failure_set(failure, "Redis refused %s: %.*s; is REDIS_URL right?", arguments[0],
                *reply != NULL ? (int)strcspn(reason, " ") : (int)strlen(reason), reason);
    freeReplyObject(*reply);
    *reply = NULL;
    return false;
}

static bool sign_on(redisContext *redis, const struct redis_url *url, struct failure *failure)
{
    const char *auth[] = {"AUTH", url->user[0] != '\0' ? url->user : "default", url->password};
    const char *select[] = {"SELECT", url->database};
    redisReply *reply = NULL;

    if (url->password[0] != '\0' && !ask(redis, failure, &reply, COUNT_OF(auth), auth, NULL))
        return false;
    freeReplyObject(reply);
    if (!ask(redis, failure, &reply, COUNT_OF(select), select, NULL))
        return false;
    freeReplyObject(reply);
    return true;
}

static redisContext *connect_redis(const struct redis_url *url, struct failure *failure)
{
    redisContext *redis = url->host[0] != '\0'
                              ? redisConnectWithTimeout(url->host, atoi(url->port), patience)
                              : redisConnectUnixWithTimeout(url->path, patience);

    if (redis == NULL || redis->err != 0) {
        failure_set(failure, "cannot connect to Redis: %s; is REDIS_URL right?",
                    redis != NULL ? redis->errstr : "out of memory");
    } else {
        redisSetTimeout(redis, patience);
        if (sign_on(redis, url, failure))
            return redis;
    }
    if (redis != NULL)
        redisFree(redis);
    return NULL;
}

static bool read_usage(redisContext *redis, struct usage *usage, struct failure *failure)
{
    struct limiter_script_call call;
    struct limiter_script_taken taken = {0};
    redisReply *reply;
    bool read;

    limiter_script_begin(&call, false);
    limiter_script_ask(&call, slice_of(usage->client_id), 0, &usage->quota);
    if (!ask(redis, failure, &reply, call.count, call.arguments, call.lengths))
        return false;
    read = limiter_script_read(reply, call.keys, 0, 0, &usage->quota, &taken) && taken.granted >= 0;
    usage->left = taken.left;
    usage->now_ms = taken.now_ms;
    freeReplyObject(reply);
    return read || failure_set(failure,
                               "Redis holds something else than a quota under the key "
                               "jotd:{%s}",
                               usage->client_id);
}

static json_t *usage_json(const struct usage *usage)
{
    json_t *windows = json_array();
    char time_text[TIME_TEXT_SIZE];

    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (usage->quota.limits[w] == 0)
            continue;
        time_text_format(usage->now_ms + usage->left.reset_in_ms[w], time_text);
        json_array_append_new(
            windows,
            json_pack("{s:s, s:I, s:I, s:I, s:s}", "window",
                      quota_window_name((enum quota_window)w), "limit",
                      (json_int_t)usage->quota.limits[w], "used",
                      (json_int_t)(usage->quota.limits[w] - usage->left.remaining[w]), "left",
                      (json_int_t)(usage->left.remaining[w] > 0 ? usage->left.remaining[w] : 0),
                      "resets_at", time_text));
    }
    return json_pack("{s:s, s:s, s:o}", "client_id", usage->client_id, "tier", usage->tier,
                     "windows", windows);
}

static void print_usage(const struct usage *usage)
{
    char time_text[TIME_TEXT_SIZE];

    if (quota_is_unlimited(&usage->quota)) {
        printf("%s: tier %s is unlimited\n", usage->client_id, usage->tier);
        return;
    }
    printf("%s: tier %s\n\n%-8s %14s %14s %14s  %s\n", usage->client_id, usage->tier, "window",
           "limit", "used", "left", "more at");
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        int64_t limit = usage->quota.limits[w], left = usage->left.remaining[w];

        if (limit == 0)
            continue;
        time_text_format(usage->now_ms + usage->left.reset_in_ms[w], time_text);
        printf("%-8s %14" PRId64 " %14" PRId64 " %14" PRId64 "  %s\n",
               quota_window_name((enum quota_window)w), limit, limit - left, left > 0 ? left : 0,
               limit == left ? "-" : time_text);
    }
}

static bool gather(struct usage *usage, struct failure *failure)
{
    struct settings settings;
    struct redis_url url;
    PGconn *connection = admin_connect(failure);
    redisContext *redis = NULL;
    bool gathered = connection != NULL && read_quota(connection, usage, failure);

    PQfinish(connection);
    if (!gathered || quota_is_unlimited(&usage->quota))
        return gathered;
    gathered = settings_load(&settings, SETTINGS_NEED_NOTHING, failure) &&
               redis_url_parse(settings.redis_url, &url) &&
               (redis = connect_redis(&url, failure)) != NULL && read_usage(redis, usage, failure);
    if (redis != NULL)
        redisFree(redis);
    OPENSSL_cleanse(&url, sizeof(url));
    settings_dispose(&settings);
    return gathered;
}

int admin_tier_usage(const struct cli_command *command, int argc, char **argv)
{
    static const struct option options[] = {{"json", no_argument, NULL, OPTION_JSON},
                                            ADMIN_HELP_OPTION,
                                            {0}};
    struct usage usage = {0};
    struct failure failure;
    bool json = false;
    int option;

    admin_start_options();
    while ((option = getopt_long(argc, argv, ADMIN_SHORT_OPTIONS, options, NULL)) != -1) {
        if (option != OPTION_JSON)
            return admin_other_option(command, option, argv);
        json = true;
    }
    if (argc - optind != 1)
        return cli_usage(command,
                         optind == argc ? "the CLIENT_ID is missing" : "give one CLIENT_ID");
    usage.client_id = argv[optind];
    if (!client_id_is_valid(slice_of(usage.client_id)))
        return cli_usage(command, "a client id is 1 to 64 characters of A-Z a-z 0-9 . _ -");
    if (!gather(&usage, &failure))
        return cli_fail(&failure);
    if (!json)
        print_usage(&usage);
    else if (!admin_print_json(usage_json(&usage), &failure))
        return cli_fail(&failure);
    return CLI_DONE;
}
