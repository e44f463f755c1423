/* Replaces the signing key without failing any verification: the new key is published `lead_s`
 * before it signs, and the older ones stay published until their last token has expired. */
#ifndef AUTH_TOKEN_KEY_ROTATION_H
#define AUTH_TOKEN_KEY_ROTATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/token/key_set.h"
#include "common/attributes.h"
#include "common/failure.h"

struct key_rotation {
    /* Input */
    enum key_alg alg;
    int64_t lead_s;        /* seconds until the new key signs */
    int64_t longest_ttl_s; /* longest lifetime of a token */

    /* Output */
    char kid[KEY_KID_LENGTH + 1];
    bool at_once; /* no key was signing, so no lead */
    int64_t activate_at;
    int64_t retire_at;                              /* of the keys in `retired` */
    const struct signing_key *retired[KEY_SET_MAX]; /* owned by the set */
    size_t retired_count;
};

/* From when on the keys are to be replaced if none is to sign for longer than `days`: so long after
 * the activation of the newest key, which may lie ahead. It is `now` when no key signs, or when the
 * newest is to retire, as nothing follows it. `*newest` is that key; NULL if there is none. */
MUST_USE int64_t key_rotation_due_at(const struct key_set *set, int64_t days, int64_t now,
                                     const struct signing_key **newest);

/* Creates the new key, then sets the retire time of each key it replaces: those that have none and
 * activate before it. `set` is the content of the directory, `now` is in epoch seconds. */
MUST_USE bool key_rotation_run(struct key_rotation *rotation, const char *directory,
                               const struct key_set *set, int64_t now, struct failure *failure);

#endif
