#include "auth/client/client.h"

#include <h2o.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "auth/client/scope.h"
#include "auth/quota/tier.h"
#include "common/attributes.h"
#include "common/clock.h"

/* Columns of CLIENT_COLUMNS_SQL; the quota limits come last. */
enum {
    ID,
    TIER,
    ENABLED,
    TOKEN_TTL,
    SCOPES,
    AUDIENCES,
    SECRETS,
    ORGANIZATION,
    ORGANIZATION_ENABLED,
    CLAIMS,
    INTROSPECT,
    VALID_FROM,
    LIMITS
};
_Static_assert(LIMITS + QUOTA_WINDOWS == CLIENT_COLUMN_COUNT, "as the header says");

/* Copies an id of a secret; empty if it is no such id. */
static void read_secret_id(const char *text, char id[CLIENT_SECRET_ID_MAX + 1])
{
    size_t length = strcspn(text, " ");

    if (length <= CLIENT_SECRET_ID_MAX && client_id_is_valid((struct slice){text, length}))
        memcpy(id, text, length);
}

/* Parses `digest:expiry:id digest:expiry:id`: digest in hex, expiry in Unix milliseconds or
 * empty. */
static void read_secrets(const char *text, struct client_secret secrets[CLIENT_MAX_SECRETS])
{
    for (size_t i = 0; i != CLIENT_MAX_SECRETS && *text != '\0'; ++i) {
        char hex[2 * SECRET_DIGEST_LENGTH + 1];
        size_t length = 0;

        snprintf(hex, sizeof(hex), "%s", text);
        if (OPENSSL_hexstr2buf_ex(secrets[i].digest.bytes, SECRET_DIGEST_LENGTH, &length, hex,
                                  '\0') == 1 &&
            length == SECRET_DIGEST_LENGTH && text[2 * SECRET_DIGEST_LENGTH] == ':') {
            const char *expiry = text + 2 * SECRET_DIGEST_LENGTH + 1;
            char *end;
            int64_t expires_at_ms = strtoll(expiry, &end, 10);

            secrets[i].expires_at_ms = end == expiry ? INT64_MAX : expires_at_ms;
            if (*end == ':')
                read_secret_id(end + 1, secrets[i].id);
        }
        OPENSSL_cleanse(hex, sizeof(hex));
        text += strcspn(text, " ");
        text += strspn(text, " ");
    }
}

static struct slice copy(char **free_space, struct slice text)
{
    struct slice copied = {*free_space, text.length};

    memcpy(*free_space, text.bytes, text.length);
    *free_space += text.length;
    return copied;
}

static struct slice copy_text(char **free_space, const char *text)
{
    return copy(free_space, slice_of(text));
}

/* The members inside of `{…}`; empty for none. */
static struct slice members_of(const char *object)
{
    size_t length = strlen(object);

    return length < 2 ? (struct slice){object, 0} : (struct slice){object + 1, length - 2};
}

static struct client *read_row(const PGresult *rows, int row, uint64_t event, uint64_t life_ms)
{
    uint64_t now_ms = clock_monotonic_ms();
    const char *id = PQgetvalue(rows, row, ID), *tier = PQgetvalue(rows, row, TIER);
    const char *scope = PQgetvalue(rows, row, SCOPES),
               *audiences = PQgetvalue(rows, row, AUDIENCES),
               *organization = PQgetvalue(rows, row, ORGANIZATION),
               *introspect = PQgetvalue(rows, row, INTROSPECT);
    struct slice claims = members_of(PQgetvalue(rows, row, CLAIMS));
    char policy[QUOTA_POLICY_MAX], *free_space;
    size_t scopes = scope_count(slice_of(scope));
    struct client *client;
    struct quota quota;

    for (int w = 0; w != QUOTA_WINDOWS; ++w)
        quota.limits[w] = strtoll(PQgetvalue(rows, row, LIMITS + w), NULL, 10);
    client = h2o_mem_alloc(sizeof(*client) + scopes * sizeof(*client->scopes) + strlen(id) +
                           strlen(tier) + strlen(scope) + strlen(audiences) + strlen(organization) +
                           strlen(introspect) + claims.length + quota_policy(&quota, policy));
    *client = (struct client){
        .references = 1,
        .event = event,
        .refresh_after_ms = now_ms + life_ms / 5 * 4,
        .fresh_until_ms = now_ms + life_ms,
        .tier = tier_number(tier),
        .enabled = *PQgetvalue(rows, row, ENABLED) == 't',
        .organization_enabled = *PQgetvalue(rows, row, ORGANIZATION_ENABLED) == 't',
        .token_ttl_s = strtoll(PQgetvalue(rows, row, TOKEN_TTL), NULL, 10),
        .valid_from_ms = strtoll(PQgetvalue(rows, row, VALID_FROM), NULL, 10),
        .quota = quota,
        .scopes = (struct slice *)client->text,
        .scope_count = scopes,
    };
    free_space = (char *)(client->scopes + scopes);
    client->id = client->entry.key = copy_text(&free_space, id);
    client->tier_name = copy_text(&free_space, tier);
    client->scope = copy_text(&free_space, scope);
    scope_sort(client->scope, client->scopes);
    client->audiences = copy_text(&free_space, audiences);
    client->organization = copy_text(&free_space, organization);
    client->introspect = copy_text(&free_space, introspect);
    client->claims = copy(&free_space, claims);
    client->policy = copy_text(&free_space, policy);
    read_secrets(PQgetvalue(rows, row, SECRETS), client->secrets);
    return client;
}

static bool is_tier_name(const char *name)
{
    size_t length = strlen(name);

    return length != 0 && length <= TIER_NAME_MAX &&
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length;
}

static bool is_scope(const char *text)
{
    return *text == '\0' || (strlen(text) <= SCOPE_MAX && scope_is_valid(slice_of(text)));
}

static bool are_audiences(const char *text)
{
    struct slice rest = slice_of(text), audience;
    size_t count = 0;

    while (scope_next(&rest, &audience)) {
        if (++count > CLIENT_MAX_AUDIENCES || audience.length > CLIENT_AUDIENCE_MAX)
            return false;
    }
    return *text == '\0' || scope_is_valid(slice_of(text));
}

/* A JSON object without the claims that the server sets. */
static bool are_claims(const char *text)
{
    static const char *const own[] = {"iss", "sub",       "aud",   "exp", "nbf", "iat",
                                      "jti", "client_id", "scope", "cnf", "act"};
    json_t *claims = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    size_t length = strlen(text);
    bool sound = json_is_object(claims) && length <= CLIENT_CLAIMS_MAX && text[0] == '{' &&
                 text[length - 1] == '}';

    for (size_t i = 0; i != COUNT_OF(own); ++i)
        sound = sound && json_object_get(claims, own[i]) == NULL;
    json_decref(claims);
    return *text == '\0' || sound;
}

static bool is_organization(const char *text)
{
    return *text == '\0' || client_id_is_valid(slice_of(text));
}

static bool is_number(const char *text, int64_t most)
{
    size_t digits = strspn(text, "0123456789");

    return digits != 0 && digits <= 13 && text[digits] == '\0' && strtoll(text, NULL, 10) <= most;
}

/* The schema has the same rules, but they may have been dropped, and the peer may not be
 * PostgreSQL. */
static bool is_sound(const PGresult *rows, int row, struct failure *failure)
{
    const char *broken = NULL;

    if (PQnfields(rows) != CLIENT_COLUMN_COUNT)
        return failure_set(failure, "the answer has other columns than were asked for");
    if (!client_id_is_valid(slice_of(PQgetvalue(rows, row, ID))))
        broken = "client_id";
    else if (!is_tier_name(PQgetvalue(rows, row, TIER)))
        broken = "tier";
    else if (!is_number(PQgetvalue(rows, row, TOKEN_TTL), CLIENT_MAX_TTL_S))
        broken = "token_ttl";
    else if (!is_scope(PQgetvalue(rows, row, SCOPES)))
        broken = "scopes";
    else if (!are_audiences(PQgetvalue(rows, row, AUDIENCES)))
        broken = "audiences";
    else if (!is_organization(PQgetvalue(rows, row, ORGANIZATION)))
        broken = "organization";
    else if (!are_claims(PQgetvalue(rows, row, CLAIMS)))
        broken = "claims";
    else if (!are_audiences(PQgetvalue(rows, row, INTROSPECT)))
        broken = "introspect";
    else if (!is_number(PQgetvalue(rows, row, VALID_FROM), INT64_MAX))
        broken = "tokens_valid_from";
    for (int w = 0; broken == NULL && w != QUOTA_WINDOWS; ++w) {
        if (!is_number(PQgetvalue(rows, row, LIMITS + w), CLIENT_MAX_LIMIT))
            broken = "the limits of its tier";
    }
    return broken == NULL ||
           failure_set(failure, "client %.64s breaks the rules of the schema: correct %s",
                       PQgetvalue(rows, row, ID), broken);
}

struct client *client_make(const PGresult *rows, int row, uint64_t event, uint64_t life_ms,
                           struct failure *failure)
{
    return is_sound(rows, row, failure) ? read_row(rows, row, event, life_ms) : NULL;
}

bool client_equal(const struct client *a, const struct client *b)
{
    return slice_equal(a->id, b->id) && slice_equal(a->tier_name, b->tier_name) &&
           a->enabled == b->enabled && slice_equal(a->organization, b->organization) &&
           a->organization_enabled == b->organization_enabled && a->token_ttl_s == b->token_ttl_s &&
           a->valid_from_ms == b->valid_from_ms && slice_equal(a->claims, b->claims) &&
           slice_equal(a->scope, b->scope) && slice_equal(a->audiences, b->audiences) &&
           slice_equal(a->introspect, b->introspect) &&
           memcmp(a->secrets, b->secrets, sizeof(a->secrets)) == 0 &&
           memcmp(&a->quota, &b->quota, sizeof(a->quota)) == 0;
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

const struct client_secret *client_authenticate(const struct client *client,
                                                const struct secret_digest *digest, int64_t now_ms,
                                                enum auth_failure *failure)
{
    static const struct client nobody;
    const struct client *compared = client != NULL ? client : &nobody;
    bool live = false, expired = false;
    size_t used = 0;

    /* Compare every slot, for constant time. */
    for (size_t i = 0; i != CLIENT_MAX_SECRETS; ++i) {
        bool equal = secret_digest_equal(&compared->secrets[i].digest, digest);
        bool lives = equal & (compared->secrets[i].expires_at_ms > now_ms);

        live |= lives;
        expired |= equal & !lives;
        used |= i & -(size_t)lives;
    }
    *failure = client == NULL               ? AUTH_UNKNOWN_CLIENT
               : live && !compared->enabled ? AUTH_DISABLED_CLIENT
               : live                       ? AUTH_DISABLED_ORGANIZATION
               : expired                    ? AUTH_EXPIRED_SECRET
                                            : AUTH_WRONG_SECRET;
    return (live & client_is_enabled(compared)) ? compared->secrets + used : NULL;
}

bool client_may_introspect(const struct client *client, struct slice audiences)
{
    bool may = slice_equal(client->introspect, SLICE("*"));
    struct slice audience;

    while (scope_next(&audiences, &audience))
        may |= scope_has(client->introspect, audience);
    return may;
}
