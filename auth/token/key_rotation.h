/* A new signing key takes the place of the older ones, and no verification fails for it: the new
 * one is published a lead before it signs, the older ones until their last token has expired. */
#ifndef AUTH_TOKEN_KEY_ROTATION_H
#define AUTH_TOKEN_KEY_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/token/key_set.h"
#include "common/attributes.h"
#include "common/failure.h"

struct key_rotation {
    /* What the caller asks for. */
    enum key_alg alg;
    int64_t lead_s;        /* from now until the new key signs */
    int64_t longest_ttl_s; /* that a token lives at most */

    /* What came of it. */
    char kid[KEY_KID_LENGTH + 1];
    bool at_once; /* no key signed, so that there was nothing to wait for */
    int64_t activate_at;
    int64_t retire_at;                              /* of the keys in `retired` */
    const struct signing_key *retired[KEY_SET_MAX]; /* they belong to the set */
    size_t retired_count;
};

/* `set` is what the directory holds, `now` epoch seconds. Makes the new key, then gives a retire
 * time to each key that it replaces: those without one that are activated before it. */
MUST_USE bool key_rotation_run(struct key_rotation *rotation, const char *directory,
                               const struct key_set *set, int64_t now, struct failure *failure);

#endif
