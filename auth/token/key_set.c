#include "auth/token/key_set.h"

#include <stdlib.h>
#include <string.h>

#include "common/buffer.h"

const char *key_set_state_name(enum key_state state)
{
    static const char *const names[] = {
        [KEY_NEXT] = "next",
        [KEY_SIGNING] = "signing",
        [KEY_RETIRING] = "retiring",
        [KEY_RETIRED] = "retired",
    };

    return names[state];
}

const struct signing_key *key_set_find(const struct key_set *set, const char *kid)
{
    for (size_t i = 0; i < set->count; ++i) {
        if (strcmp(set->keys[i].kid, kid) == 0)
            return &set->keys[i];
    }
    return NULL;
}

struct key_set *key_set_keep(struct key_set *set)
{
    __atomic_add_fetch(&set->references, 1, __ATOMIC_RELAXED);
    return set;
}

void key_set_release(struct key_set *set)
{
    if (set == NULL || __atomic_sub_fetch(&set->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < set->count; ++i)
        key_dispose(&set->keys[i]);
    free(set);
}

static bool is_retired(const struct signing_key *key, int64_t now)
{
    return key->retire_at != 0 && now >= key->retire_at;
}

const struct signing_key *key_set_signing(const struct key_set *set, int64_t now)
{
    for (size_t i = set->count; i-- > 0;) {
        if (set->keys[i].activate_at <= now && !is_retired(&set->keys[i], now))
            return &set->keys[i];
    }
    return NULL;
}

enum key_state key_set_state(const struct key_set *set, const struct signing_key *key, int64_t now)
{
    if (is_retired(key, now))
        return KEY_RETIRED;
    if (key->activate_at > now)
        return KEY_NEXT;
    return key_set_signing(set, now) == key ? KEY_SIGNING : KEY_RETIRING;
}

static bool is_published(const struct signing_key *key, int64_t now)
{
    return key->jwk != NULL && !is_retired(key, now);
}

bool key_set_publishes(const struct key_set *set, enum key_alg alg, int64_t now)
{
    for (size_t i = 0; i != set->count; ++i) {
        if (set->keys[i].alg == alg && is_published(&set->keys[i], now))
            return true;
    }
    return false;
}

char *key_set_jwks(const struct key_set *set, int64_t now)
{
    struct buffer text = {0};
    const char *separator = "";

    buffer_append_text(&text, "{\"keys\":[");
    for (size_t i = set->count; i-- > 0;) {
        const struct signing_key *key = &set->keys[i];

        if (is_published(key, now)) {
            buffer_printf(&text, "%s%s", separator, key->jwk);
            separator = ",";
        }
    }
    buffer_append(&text, "]}", sizeof("]}"));
    return text.bytes;
}
