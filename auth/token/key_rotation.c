#include "auth/token/key_rotation.h"

#include "auth/token/key_file.h"

#define CLOCK_DIFFERENCE 60 /* seconds of clock skew allowed to verifiers */
#define DAY_S            86400

int64_t key_rotation_due_at(const struct key_set *set, int64_t days, int64_t now,
                            const struct signing_key **newest)
{
    *newest = NULL;
    for (size_t i = 0; i < set->count; ++i) {
        if (key_set_state(set, &set->keys[i], now) != KEY_RETIRED)
            *newest = &set->keys[i];
    }
    if (key_set_signing(set, now) == NULL || (*newest)->retire_at != 0)
        return now;
    return (*newest)->activate_at + days * DAY_S;
}

static int64_t activation(const struct key_rotation *rotation, const struct key_set *set,
                          int64_t now)
{
    int64_t activate_at = rotation->at_once ? now : now + rotation->lead_s;

    /* No two keys share a second, so that it is clear which is newer. The set is ascending: one
     * pass is enough. */
    for (size_t i = 0; i < set->count; ++i) {
        if (set->keys[i].activate_at == activate_at)
            ++activate_at;
    }
    return activate_at;
}

bool key_rotation_run(struct key_rotation *rotation, const char *directory,
                      const struct key_set *set, int64_t now, struct failure *failure)
{
    struct failure cause;

    rotation->at_once = key_set_signing(set, now) == NULL;
    rotation->activate_at = activation(rotation, set, now);
    /* A longer TTL set later does no harm: the server lets no token outlive its key. */
    rotation->retire_at = rotation->activate_at + rotation->longest_ttl_s + CLOCK_DIFFERENCE;
    rotation->retired_count = 0;
    if (!key_file_create(directory, rotation->alg, rotation->activate_at, rotation->kid, failure))
        return false;
    for (size_t i = 0; i < set->count; ++i) {
        const struct signing_key *key = &set->keys[i];

        if (key->retire_at != 0 || key->activate_at >= rotation->activate_at)
            continue;
        if (!key_file_retire(directory, key, rotation->retire_at, &cause))
            return failure_set(failure,
                               "the new key %s is made, but an older one has no retire time: %s",
                               rotation->kid, cause.reason);
        rotation->retired[rotation->retired_count++] = key;
    }
    return true;
}
