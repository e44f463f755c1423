/* Client records: see client_record.h. */
#include "auth/client_record.h"

#include <h2o.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/tier.h"
#include "common/clock.h"

/* CLIENT_COLUMNS_SQL; the limits of the quota are the last ones. */
enum { ID, TIER, ENABLED, TOKEN_TTL, SCOPES, AUDIENCES, SECRETS, LIMITS };
_Static_assert(LIMITS + QUOTA_WINDOWS == CLIENT_COLUMN_COUNT, "as the header says");

/* `digest:expiry digest:expiry`, the digest in hex, the expiry in Unix milliseconds or empty. */
static void read_secrets(const char *text, struct client_secret secrets[CLIENT_MAX_SECRETS])
{
    for (size_t i = 0; i != CLIENT_MAX_SECRETS && *text != '\0'; ++i) {
        char hex[2 * SECRET_DIGEST_LENGTH + 1];
        size_t length = 0;

        snprintf(hex, sizeof(hex), "%s", text);
        if (OPENSSL_hexstr2buf_ex(secrets[i].digest.bytes, SECRET_DIGEST_LENGTH, &length, hex,
                                  '\0') == 1 &&
            length == SECRET_DIGEST_LENGTH) {
            const char *expiry = text + 2 * SECRET_DIGEST_LENGTH + 1;

            secrets[i].expires_at_ms =
                *expiry == ' ' || *expiry == '\0' ? INT64_MAX : strtoll(expiry, NULL, 10);
        }
        OPENSSL_cleanse(hex, sizeof(hex));
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
}

static struct slice copy_text(char **free_space, const char *text)
{
    struct slice copy = {*free_space, strlen(text)};

    memcpy(*free_space, text, copy.length);
    *free_space += copy.length;
    return copy;
}

struct client *client_make(const PGresult *rows, int row, uint64_t event, uint64_t life_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    const char *id = PQgetvalue(rows, row, ID), *tier = PQgetvalue(rows, row, TIER);
    const char *scope = PQgetvalue(rows, row, SCOPES),
               *audiences = PQgetvalue(rows, row, AUDIENCES);
    char policy[QUOTA_POLICY_MAX], *free_space;
    struct client *client;
    struct quota quota;

    for (int w = 0; w != QUOTA_WINDOWS; ++w)
        quota.limits[w] = strtoll(PQgetvalue(rows, row, LIMITS + w), NULL, 10);
    client = h2o_mem_alloc(sizeof(*client) + strlen(id) + strlen(tier) + strlen(scope) +
                           strlen(audiences) + quota_policy(&quota, policy));
    *client = (struct client){
        .references = 1,
        .event = event,
        .refresh_after_ms = now_ms + life_ms / 5 * 4,
        .fresh_until_ms = now_ms + life_ms,
        .tier = tier_number(tier),
        .enabled = *PQgetvalue(rows, row, ENABLED) == 't',
        .token_ttl = strtoll(PQgetvalue(rows, row, TOKEN_TTL), NULL, 10),
        .quota = quota,
    };
    free_space = client->text;
    client->id = client->entry.key = copy_text(&free_space, id);
    client->tier_name = copy_text(&free_space, tier);
    client->scope = copy_text(&free_space, scope);
    client->audiences = copy_text(&free_space, audiences);
    client->policy = copy_text(&free_space, policy);
    read_secrets(PQgetvalue(rows, row, SECRETS), client->secrets);
    return client;
}

void client_keep(struct client *client)
{
    ++client->references;
}

void client_release(struct client *client)
{
    if (--client->references == 0) {
        OPENSSL_cleanse(client->secrets, sizeof(client->secrets));
        free(client);
    }
}

bool client_id_is_valid(struct slice id)
{
    if (id.length == 0 || id.length > CLIENT_ID_MAX)
        return false;
    for (size_t i = 0; i != id.length; ++i) {
        char c = id.bytes[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '.' || c == '_' || c == '-'))
            return false;
    }
    return true;
}

bool client_authenticate(const struct client *client, const struct secret_digest *digest,
                         int64_t now_ms)
{
    static const struct client nobody;
    const struct client *compared = client != NULL ? client : &nobody;
    bool right = false;

    /* Every slot is compared, whatever the ones before said. */
    for (size_t i = 0; i != CLIENT_MAX_SECRETS; ++i) {
        bool equal = secret_digest_equal(&compared->secrets[i].digest, digest);

        right |= equal & (compared->secrets[i].expires_at_ms > now_ms);
    }
    return right & compared->enabled;
}

enum auth_failure client_auth_failure(const struct client *client,
                                      const struct secret_digest *digest, int64_t now_ms)
{
    static const struct client nobody;
    const struct client *compared = client != NULL ? client : &nobody;
    bool live = false, expired = false;

    for (size_t i = 0; i != CLIENT_MAX_SECRETS; ++i) {
        bool equal = secret_digest_equal(&compared->secrets[i].digest, digest);

        live |= equal & (compared->secrets[i].expires_at_ms > now_ms);
        expired |= equal & (compared->secrets[i].expires_at_ms <= now_ms);
    }
    if (client == NULL)
        return AUTH_UNKNOWN_CLIENT;
    if (live)
        return AUTH_DISABLED_CLIENT;
    return expired ? AUTH_EXPIRED_SECRET : AUTH_WRONG_SECRET;
}
