/* A call of limiter.lua: the command for Redis, and what it answers. Pure.
 *
 *     struct limiter_script_call call;
 *
 *     limiter_script_begin(&call, true);
 *     limiter_script_ask(&call, client_id, 1, &quota);   (of LIMITER_SCRIPT_MAX clients at most)
 *     send(call.count, call.arguments, call.lengths);
 *     limiter_script_read(reply, call.keys, 0, 1, &quota, &taken);  (of each, in the same order)
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

#define LIMITER_SCRIPT_MAX       64 /* clients in a call, which takes Redis half a millisecond */
#define LIMITER_SCRIPT_ARGUMENTS 4  /* beside the keys */
#define LIMITER_SCRIPT_ASK_SIZE  (8 * (1 + QUOTA_WINDOWS))

struct limiter_script_call {
    int count;                                                            /* of arguments */
    const char *arguments[LIMITER_SCRIPT_MAX + LIMITER_SCRIPT_ARGUMENTS]; /* into what follows */
    size_t lengths[LIMITER_SCRIPT_MAX + LIMITER_SCRIPT_ARGUMENTS];
    size_t keys;
    char key_count[INTEGER_LENGTH_MAX];
    char key_texts[LIMITER_SCRIPT_MAX][CLIENT_ID_MAX + sizeof("jotd:{}")];
    char asks[LIMITER_SCRIPT_MAX * LIMITER_SCRIPT_ASK_SIZE];
};

struct limiter_script_taken {
    int64_t granted; /* below 0: the key holds something else than a quota */
    int64_t now_ms;  /* Redis's time, Unix milliseconds */
    struct quota_left left;
};

/* By its name (EVALSHA), or with the whole script for a Redis that does not know it (EVAL). */
void limiter_script_begin(struct limiter_script_call *call, bool by_name);

/* Adds a client that asks for so many tokens; 0: only looks. */
void limiter_script_ask(struct limiter_script_call *call, struct slice client_id, int64_t asked,
                        const struct quota *quota);

/* What the client at `index` of `keys`, who asked for `asked` tokens, was answered; false when that
 * is not the script's answer, nor can be: more than was asked for, more than the quota, a time that
 * no window has. */
MUST_USE bool limiter_script_read(const redisReply *reply, size_t keys, size_t index, int64_t asked,
                                  const struct quota *quota, struct limiter_script_taken *taken);

#endif
