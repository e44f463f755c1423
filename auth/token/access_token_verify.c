#include "auth/token/access_token_verify.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/token/denylist.h"
#include "common/base64.h"

/* header.payload.signature, each in base64url (RFC 7515 3.1). */
struct parts {
    struct slice header, payload, signature;
    struct slice input; /* of the signature */
};

static struct slice before(struct slice text, const char *end)
{
    return (struct slice){text.bytes, (size_t)(end - text.bytes)};
}

static bool split(struct slice text, struct parts *parts)
{
    const char *first = memchr(text.bytes, '.', text.length),
               *last = first != NULL ? memrchr(text.bytes, '.', text.length) : NULL;
    const char *end = text.bytes + text.length;

    if (last == NULL || last == first || text.length > ACCESS_TOKEN_MAX)
        return false;
    parts->header = before(text, first);
    parts->payload = (struct slice){first + 1, (size_t)(last - first - 1)};
    parts->signature = (struct slice){last + 1, (size_t)(end - last - 1)};
    parts->input = before(text, last);
    return memchr(parts->payload.bytes, '.', parts->payload.length) == NULL;
}

/* Decodes a part into `scratch`; false when it is no base64url. */
static bool decode(struct slice part, struct buffer *scratch, struct slice *bytes)
{
    char *to;

    buffer_clear(scratch);
    to = buffer_reserve(scratch, part.length + 3);
    bytes->bytes = to;
    return part.length != 0 && base64_url_decode(part, to, &bytes->length);
}

/* RFC 8725 2.4: a name that occurs twice could be read in two ways. Deep nesting ends at jansson's
 * limit. */
static json_t *parse(struct slice text)
{
    return json_loadb(text.bytes, text.length, JSON_REJECT_DUPLICATES, NULL);
}

static struct slice string_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);

    return json_is_string(value)
               ? (struct slice){json_string_value(value), json_string_length(value)}
               : SLICE("");
}

/* RFC 9068 4: application/ may be left out, and case does not count (RFC 7515 4.1.9). */
static bool is_type(struct slice typ)
{
    return (typ.length == strlen("at+jwt") && strncasecmp(typ.bytes, "at+jwt", typ.length) == 0) ||
           (typ.length == strlen("application/at+jwt") &&
            strncasecmp(typ.bytes, "application/at+jwt", typ.length) == 0);
}

/* The key that the header names, if it may be used; RFC 8725 3.1: the algorithm is the key's, not
 * the token's to choose. */
static enum access_token_state find_key(const json_t *header, const struct keyring_view *keys,
                                        int64_t now, const struct signing_key **key)
{
    struct slice alg = string_of(header, "alg");

    /* RFC 7515 4.1.11: whatever crit names, we don't know it. */
    if (!json_is_object(header) || json_object_get(header, "crit") != NULL ||
        !is_type(string_of(header, "typ")))
        return ACCESS_TOKEN_MALFORMED;
    *key = keyring_view_find(keys, string_of(header, "kid"), now);
    if (*key == NULL)
        return ACCESS_TOKEN_UNKNOWN_KEY;
    return slice_equal(alg, slice_of(key_alg_name((*key)->alg))) ? ACCESS_TOKEN_VALID
                                                                 : ACCESS_TOKEN_MALFORMED;
}

/* Appends the audiences, separated by spaces. RFC 7519 4.1.3: one string, or an array. */
static bool append_audiences(const json_t *aud, struct buffer *out)
{
    size_t count = json_is_array(aud) ? json_array_size(aud) : 1;

    for (size_t i = 0; i != count; ++i) {
        const json_t *item = json_is_array(aud) ? json_array_get(aud, i) : aud;
        struct slice audience = {json_string_value(item), json_string_length(item)};

        if (!json_is_string(item) || !scope_is_valid(audience) ||
            memchr(audience.bytes, ' ', audience.length) != NULL)
            return false;
        if (i != 0)
            buffer_append(out, " ", 1);
        buffer_append(out, audience.bytes, audience.length);
    }
    return count != 0;
}

/* The claims that are read, without the audiences. */
struct claims {
    struct uuid jti;
    int64_t expires_at;
    struct slice client_id;
    struct slice scope;
};

static enum access_token_state read_claims(const json_t *payload, const char *issuer, int64_t now,
                                           struct claims *claims)
{
    const json_t *exp = json_object_get(payload, "exp"), *nbf = json_object_get(payload, "nbf");

    if (!json_is_object(payload))
        return ACCESS_TOKEN_MALFORMED;
    if (!slice_equal(string_of(payload, "iss"), slice_of(issuer)))
        return ACCESS_TOKEN_OTHER_ISSUER;
    claims->client_id = string_of(payload, "client_id");
    claims->scope = string_of(payload, "scope");
    claims->expires_at = json_integer_value(exp);
    if (!json_is_integer(exp) || !json_is_integer(json_object_get(payload, "iat")) ||
        !client_id_is_valid(claims->client_id) ||
        !slice_equal(claims->client_id, string_of(payload, "sub")) ||
        !uuid_parse(string_of(payload, "jti"), &claims->jti) || claims->jti.bytes[6] >> 4 != 7)
        return ACCESS_TOKEN_MALFORMED;
    if (claims->expires_at <= now ||
        (nbf != NULL && (!json_is_integer(nbf) || json_integer_value(nbf) > now)))
        return ACCESS_TOKEN_EXPIRED;
    /* Not made here, though signed by a key of ours. A revocation would be forgotten before. */
    return claims->expires_at <= denylist_latest(&claims->jti, now) ? ACCESS_TOKEN_VALID
                                                                    : ACCESS_TOKEN_MALFORMED;
}

/* RFC 7662 2.2: the token's claims, with two of our own. Static claims of these names give way. */
static void append_active(json_t *payload, struct slice text, struct buffer *out)
{
    const char *begin = memchr(text.bytes, '{', text.length),
               *end = memrchr(text.bytes, '}', text.length);
    bool deleted = json_object_del(payload, "active") == 0;
    char *dumped = NULL;

    deleted |= json_object_del(payload, "token_type") == 0;
    if (deleted) {
        dumped = json_dumps(payload, JSON_COMPACT);
        begin = dumped;
        end = dumped + strlen(dumped) - 1;
    }
    buffer_append_text(out, "{\"active\":true,");
    buffer_append(out, begin + 1, (size_t)(end - begin - 1));
    buffer_append_text(out, ",\"token_type\":\"Bearer\"}");
    free(dumped);
}

static struct access_token *make(const struct claims *claims, const char *kid,
                                 struct slice audiences, struct slice active)
{
    size_t kid_length = strlen(kid);
    struct access_token *token =
        calloc(1, sizeof(*token) + kid_length + claims->client_id.length + claims->scope.length +
                      audiences.length + active.length);
    struct slice *slices[] = {&token->kid, &token->client_id, &token->scope, &token->audiences,
                              &token->active};
    const struct slice texts[] = {
        {kid, kid_length}, claims->client_id, claims->scope, audiences, active};
    char *to;

    if (token == NULL)
        return NULL;
    to = token->text;
    for (size_t i = 0; i != COUNT_OF(slices); ++i) {
        *slices[i] = (struct slice){to, texts[i].length};
        memcpy(to, texts[i].bytes, texts[i].length);
        to += texts[i].length;
    }
    token->references = 1;
    token->jti = claims->jti;
    token->expires_at = claims->expires_at;
    return token;
}

static enum access_token_state read_payload(struct slice text, const char *kid, const char *issuer,
                                            int64_t now, struct access_token **token)
{
    json_t *payload = parse(text);
    struct claims claims;
    enum access_token_state state = read_claims(payload, issuer, now, &claims);
    struct buffer texts = {0};
    size_t length;

    if (state == ACCESS_TOKEN_VALID && !append_audiences(json_object_get(payload, "aud"), &texts))
        state = ACCESS_TOKEN_MALFORMED;
    length = texts.size;
    if (state == ACCESS_TOKEN_VALID) {
        append_active(payload, text, &texts);
        *token = make(&claims, kid, (struct slice){texts.bytes, length},
                      (struct slice){texts.bytes + length, texts.size - length});
        if (*token == NULL)
            state = ACCESS_TOKEN_MALFORMED;
    }
    buffer_dispose(&texts);
    json_decref(payload);
    return state;
}

enum access_token_state
access_token_verify_claims(struct slice text, const struct keyring_view *keys, const char *issuer,
                           int64_t now, struct buffer *scratch, struct access_token **token)
{
    struct parts parts;
    struct slice bytes;
    json_t *header = NULL;
    const struct signing_key *key;
    enum access_token_state state = ACCESS_TOKEN_MALFORMED;

    if (split(text, &parts) && decode(parts.header, scratch, &bytes) &&
        (header = parse(bytes)) != NULL)
        state = find_key(header, keys, now, &key);
    json_decref(header);
    if (state != ACCESS_TOKEN_VALID)
        return state;
    return decode(parts.payload, scratch, &bytes)
               ? read_payload(bytes, key->kid, issuer, now, token)
               : ACCESS_TOKEN_MALFORMED;
}

bool access_token_verify_signature(struct slice text, const struct access_token *token,
                                   struct keyring_view *keys, int64_t now, struct buffer *scratch)
{
    const struct signing_key *key = keyring_view_find(keys, token->kid, now);
    struct verifier *verifier = key != NULL ? keyring_view_verifier(keys, key) : NULL;
    struct parts parts;
    struct slice signature;

    return verifier != NULL && split(text, &parts) &&
           decode(parts.signature, scratch, &signature) &&
           verifier_verify(verifier, parts.input, signature);
}

void access_token_verify_keep(struct access_token *token)
{
    ++token->references;
}

void access_token_verify_release(struct access_token *token)
{
    if (--token->references == 0)
        free(token);
}
