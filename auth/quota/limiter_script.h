/* A call of limiter.lua: builds the Redis command and reads the reply. Pure.
 *
 *     struct limiter_script_call call;
 *
 *     limiter_script_begin(&call, true);
 *     limiter_script_ask(&call, client_id, 1, &quota);   (for up to LIMITER_SCRIPT_MAX clients)
 *     send(call.count, call.arguments, call.lengths);
 *     limiter_script_read(reply, call.keys, 0, 1, &quota, &taken);  (for each, in the same order)
 */
#ifndef AUTH_QUOTA_LIMITER_SCRIPT_H
#define AUTH_QUOTA_LIMITER_SCRIPT_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/client/client.h"
#include "auth/quota/quota.h"
#include "common/attributes.h"
#include "common/buffer.h"
#include "common/slice.h"

#define LIMITER_SCRIPT_MAX       64 /* clients per call; takes Redis half a millisecond */
#define LIMITER_SCRIPT_ARGUMENTS 4  /* besides the keys */
#define LIMITER_SCRIPT_ASK_SIZE  (8 * (1 + QUOTA_WINDOWS))

struct limiter_script_call {
    int count;                                                            /* number of arguments */
    const char *arguments[LIMITER_SCRIPT_MAX + LIMITER_SCRIPT_ARGUMENTS]; /* into this struct */
    size_t lengths[LIMITER_SCRIPT_MAX + LIMITER_SCRIPT_ARGUMENTS];
    size_t keys;
    char key_count[INTEGER_LENGTH_MAX];
    char key_texts[LIMITER_SCRIPT_MAX][CLIENT_ID_MAX + sizeof("jotd:{}")];
    char asks[LIMITER_SCRIPT_MAX * LIMITER_SCRIPT_ASK_SIZE];
};

struct limiter_script_taken {
    int64_t granted; /* below 0: the key does not hold a quota */
    int64_t now_ms;  /* time in Redis, Unix milliseconds */
    struct quota_left left;
};

/* By name (EVALSHA), or with the whole script when Redis does not have it cached (EVAL). */
void limiter_script_begin(struct limiter_script_call *call, bool by_name);

/* Adds a client that requests `asked` tokens; 0 only queries. */
void limiter_script_ask(struct limiter_script_call *call, struct slice client_id, int64_t asked,
                        const struct quota *quota);

/* Reads the result of the client at `index` of `keys`, which requested `asked` tokens. False when
 * the reply cannot be the script's: malformed, more tokens than requested, more than the quota, or
 * an impossible time. */
MUST_USE bool limiter_script_read(const redisReply *reply, size_t keys, size_t index, int64_t asked,
                                  const struct quota *quota, struct limiter_script_taken *taken);

#endif
