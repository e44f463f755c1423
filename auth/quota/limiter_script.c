#include "auth/quota/limiter_script.h"

#include <endian.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define NUMBERS      8 /* in the reply, per client */
#define KEY_COUNT    2 /* its argument index */
#define WRONG_TYPE   (-1)
#define NUMBER_MAX   (INT64_C(1) << 53) /* Lua's doubles are exact up to here */
#define RESET_MAX_MS (INT64_C(32) * 24 * 3600 * 1000)

extern const char limiter_lua[]; /* limiter.lua, embedded */

static char sha1[41];

/* Not for security: Redis names scripts by SHA-1. */
static void make_sha1(void)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t length = 0;

    if (EVP_Q_digest(NULL, "SHA1", NULL, limiter_lua, strlen(limiter_lua), digest, &length) != 1)
        length = 0; /* connection setup will fail and report it */
    for (size_t i = 0; i != length && i != 20; ++i)
        snprintf(sha1 + 2 * i, 3, "%02x", digest[i]);
}

static void add(struct limiter_script_call *call, const char *argument, size_t length)
{
    call->arguments[call->count] = argument;
    call->lengths[call->count++] = length;
}

void limiter_script_begin(struct limiter_script_call *call, bool by_name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_sha1);
    call->count = 0;
    call->keys = 0;
    add(call, by_name ? "EVALSHA" : "EVAL", by_name ? 7 : 4);
    add(call, by_name ? sha1 : limiter_lua, strlen(by_name ? sha1 : limiter_lua));
    add(call, call->key_count, 0);
    add(call, call->asks, 0);
}

void limiter_script_ask(struct limiter_script_call *call, struct slice client_id, int64_t asked,
                        const struct quota *quota)
{
    char *key = call->key_texts[call->keys];
    uint64_t numbers[1 + QUOTA_WINDOWS] = {htole64((uint64_t)asked)};

    memcpy(key, "jotd:{", 6);
    memcpy(key + 6, client_id.bytes, client_id.length);
    key[6 + client_id.length] = '}';
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w)
        numbers[1 + w] = htole64((uint64_t)quota->limits[w]);
    memcpy(call->asks + call->keys * LIMITER_SCRIPT_ASK_SIZE, numbers, sizeof(numbers));

    --call->count; /* `asks` is always the last argument */
    add(call, key, client_id.length + 7);
    ++call->keys;
    add(call, call->asks, call->keys * LIMITER_SCRIPT_ASK_SIZE);
    call->lengths[KEY_COUNT] = integer_write((int64_t)call->keys, call->key_count);
}

static bool is_within(int64_t number, int64_t least, int64_t most)
{
    return least <= number && number <= most;
}

/* Windows without a limit are not checked. */
static bool is_possible(const struct limiter_script_taken *taken, int64_t asked,
                        const struct quota *quota)
{
    if (!is_within(taken->granted, 0, asked) || !is_within(taken->now_ms, 0, NUMBER_MAX))
        return false;
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (quota->limits[w] != 0 &&
            (!is_within(taken->left.remaining[w], -NUMBER_MAX, quota->limits[w]) ||
             !is_within(taken->left.reset_in_ms[w], 0, RESET_MAX_MS)))
            return false;
    }
    return true;
}

bool limiter_script_read(const redisReply *reply, size_t keys, size_t index, int64_t asked,
                         const struct quota *quota, struct limiter_script_taken *taken)
{
    uint64_t numbers[NUMBERS];

    if (reply->type != REDIS_REPLY_STRING || (size_t)reply->len != keys * sizeof(numbers))
        return false;
    memcpy(numbers, reply->str + index * sizeof(numbers), sizeof(numbers));
    taken->granted = (int64_t)le64toh(numbers[0]);
    taken->now_ms = (int64_t)le64toh(numbers[1]);
    taken->left = (struct quota_left){0};
    for (size_t w = 0; w != QUOTA_WINDOWS; ++w) {
        if (quota->limits[w] == 0)
            continue;
        taken->left.remaining[w] = (int64_t)le64toh(numbers[2 + 2 * w]);
        taken->left.reset_in_ms[w] = (int64_t)(le64toh(numbers[3 + 2 * w]) - le64toh(numbers[1]));
    }
    return taken->granted == WRONG_TYPE || is_possible(taken, asked, quota);
}
