/* `jotd tier usage`: how much of its quota a client has used, from Redis, by the limiter's script
 * with a request for zero tokens.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/command/commands.h"
#include "auth/command/database.h"
#include "auth/command/print.h"
#include "auth/quota/limiter_script.h"
#include "auth/settings.h"
#include "auth/store/client_store.h"
#include "auth/store/tier_store.h"
#include "common/redis/redis_url.h"
#include "common/time_text.h"

static const struct timeval patience = {5, 0};

struct usage {
    const char *client_id;
    char tier[TIER_STORE_NAME_SIZE];
    struct quota quota;
    struct quota_left left;
    int64_t now_ms; /* Redis's clock, Unix milliseconds */
};

/* Runs one command. On failure returns false with the first word of Redis's error only: the rest
 * may repeat what was sent, such as a password. */
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

static bool ask_redis(struct usage *usage, struct failure *failure)
{
    struct settings settings;
    struct redis_url url;
    redisContext *redis = NULL;
    bool asked = settings_load(&settings, SETTINGS_NEED_NOTHING, failure) &&
                 redis_url_parse(settings.redis_url, &url) &&
                 (redis = connect_redis(&url, failure)) != NULL &&
                 read_usage(redis, usage, failure);

    if (redis != NULL)
        redisFree(redis);
    OPENSSL_cleanse(&url, sizeof(url));
    settings_dispose(&settings);
    return asked;
}

static bool gather(struct usage *usage, struct store_failure *failure)
{
    PGconn *connection = NULL;
    bool gathered =
        client_store_check_id(usage->client_id, failure) &&
        (connection = database_connect(failure)) != NULL &&
        tier_store_quota(connection, usage->client_id, usage->tier, &usage->quota, failure);

    PQfinish(connection);
    if (!gathered || quota_is_unlimited(&usage->quota))
        return gathered;
    failure->kind = STORE_UNAVAILABLE;
    failure->pointer[0] = '\0';
    return ask_redis(usage, &failure->why);
}

struct values {
    const char *client_id;
    bool json;
};

static const struct cli_option options[] = {
    {.name = "json",
     .kind = CLI_FLAG,
     .offset = offsetof(struct values, json),
     .help = "print a JSON object"},
    {0},
};

static int run(const struct cli_command *command, const void *given)
{
    const struct values *values = given;
    struct usage usage = {.client_id = values->client_id};
    struct store_failure failure;

    if (!gather(&usage, &failure))
        return database_fail(command, &failure, "`jotd client list` shows them");
    if (!values->json)
        print_usage(&usage);
    else if (!print_json(usage_json(&usage), &failure.why))
        return cli_fail(&failure.why);
    return CLI_DONE;
}

const struct cli_command command_tier_usage = {
    .path = "jotd tier usage",
    .summary = "show what a client has used of its quota",
    .help = "Shows each limited window of the client's tier: the limit, what is used and left,\n"
            "and when more becomes available (UTC). Asks Redis at REDIS_URL, which does not "
            "know\n"
            "what processes granted on their own (JOTD_LIMITER=local, or while Redis was away).",
    .options = options,
    .arguments = {{"CLIENT_ID", offsetof(struct values, client_id), "the CLIENT_ID is missing"}},
    .values_size = sizeof(struct values),
    .run = run,
};
