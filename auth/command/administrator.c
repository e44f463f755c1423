#include "auth/command/administrator.h"

#include <stdio.h>
#include <string.h>

#include "auth/settings.h"
#include "common/slice.h"

bool administrator_prepare(struct administrator *administrator, struct client_change *change,
                           struct failure *failure)
{
    struct settings settings;
    bool loaded = settings_load(&settings, SETTINGS_NEED_ISSUER, failure);
    struct slice issuer = {0};

    if (loaded)
        issuer = slice_trim_end(slice_of(settings.issuer), '/');
    snprintf(administrator->audience, sizeof(administrator->audience), "%.*s" GUARD_AUDIENCE_PATH,
             (int)issuer.length, loaded ? issuer.bytes : "");
    settings_dispose(&settings);
    administrator->audiences[0] = administrator->audience;
    change->scope = ADMINISTRATOR_SCOPE;
    change->audiences = administrator->audiences;
    change->audience_count = 1;
    return loaded;
}

void administrator_tell(const struct administrator *administrator)
{
    int length = (int)(strlen(administrator->audience) - strlen(GUARD_AUDIENCE_PATH));

    fprintf(stderr,
            "It gets tokens for the administration (JOTD_ADMIN_LISTEN) by:\n"
            "  curl -sSf -u \"$client_id:$client_secret\" -d grant_type=client_credentials "
            "%.*s/token\n",
            length, administrator->audience);
}
