#include "auth/token/key_name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool key_name_counts(const char *name)
{
    size_t length = strlen(name);

    return name[0] != '.' && length > 4 && strcmp(name + length - 4, ".pem") == 0;
}

void key_name_write(const struct signing_key *key, char name[KEY_NAME_SIZE])
{
    char retire[16] = "";

    if (key->retire_at != 0)
        snprintf(retire, sizeof(retire), ".%" PRId64, key->retire_at);
    snprintf(name, KEY_NAME_SIZE, "%s.%s.%" PRId64 "%s.pem", key->kid, key_alg_name(key->alg),
             key->activate_at, retire);
}

bool key_name_parse(const char *name, struct signing_key *key)
{
    char alg[6], again[KEY_NAME_SIZE];
    int fields = sscanf(name, "%43[A-Za-z0-9_-].%5[A-Z0-9].%12" SCNd64 ".%12" SCNd64, key->kid, alg,
                        &key->activate_at, &key->retire_at);

    if (fields < 3 || strlen(key->kid) != KEY_KID_LENGTH || !key_alg_parse(alg, &key->alg) ||
        key->activate_at < 0)
        return false;
    if (fields == 3)
        key->retire_at = 0;
    else if (key->retire_at <= key->activate_at)
        return false;
    /* Accept only the canonical name, so that key_name_write can recreate it. */
    key_name_write(key, again);
    return strcmp(name, again) == 0;
}
