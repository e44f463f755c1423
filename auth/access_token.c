/* Access tokens: see access_token.h.
 *
 * Header and payload are written here and not by libjwt, whose encoder overwrites `typ` with JWT,
 * which verifiers of RFC 9068 refuse.
 */
#include "auth/access_token.h"

#include <stdio.h>
#include <string.h>

#include "auth/jwk.h"

static void append_base64url(struct buffer *out, const void *bytes, size_t length)
{
    out->size += jwk_base64url(bytes, length, buffer_reserve(out, length * 4 / 3 + 4));
}

void access_token_append_header(struct buffer *header, const struct signing_key *key,
                                const char *type)
{
    char text[128];
    int length = snprintf(text, sizeof(text), "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"%s\"}",
                          key_alg_name(key->alg), key->kid, type);

    append_base64url(header, text, (size_t)length);
    buffer_append(header, ".", 1);
}

bool access_token_signer_set(struct access_token_signer *signer, const struct signing_key *key)
{
    libjwt_signer_close(&signer->signer);
    if (!libjwt_signer_open(&signer->signer, key))
        return false;
    memcpy(signer->kid, key->kid, sizeof(signer->kid));
    signer->alg = key->alg;
    signer->retire_at = key->retire_at;
    /* RFC 9068 2.1: the type tells an access token from any other JWT. */
    buffer_clear(&signer->header);
    access_token_append_header(&signer->header, key, "at+jwt");
    return true;
}

void access_token_signer_dispose(struct access_token_signer *signer)
{
    libjwt_signer_close(&signer->signer);
    buffer_dispose(&signer->header);
    buffer_dispose(&signer->payload);
}

static void append_slice(struct buffer *out, struct slice text)
{
    buffer_append(out, text.bytes, text.length);
}

/* RFC 7519 4.1.3: a string when there is one, else an array. */
static void append_audiences(struct buffer *out, const struct slice *audiences, size_t count)
{
    if (count != 1)
        buffer_append(out, "[", 1);
    for (size_t i = 0; i != count; ++i) {
        buffer_append_text(out, i == 0 ? "\"" : ",\"");
        buffer_append_json(out, audiences[i]);
        buffer_append(out, "\"", 1);
    }
    if (count != 1)
        buffer_append(out, "]", 1);
}

/* RFC 9068 2.2. */
static void write_payload(struct buffer *out, const struct access_token_claims *claims)
{
    buffer_clear(out);
    buffer_append_text(out, "{\"iss\":\"");
    append_slice(out, claims->issuer);
    buffer_append_text(out, "\",\"sub\":\"");
    append_slice(out, claims->client_id);
    buffer_append_text(out, "\",\"client_id\":\"");
    append_slice(out, claims->client_id);
    buffer_append_text(out, "\",\"aud\":");
    append_audiences(out, claims->audiences, claims->audience_count);
    buffer_append_text(out, ",\"exp\":");
    buffer_append_integer(out, claims->expires_at);
    buffer_append_text(out, ",\"iat\":");
    buffer_append_integer(out, claims->issued_at);
    buffer_append_text(out, ",\"jti\":\"");
    uuid_format(&claims->jti, buffer_reserve(out, UUID_TEXT_LENGTH));
    out->size += UUID_TEXT_LENGTH;
    if (claims->scope.length != 0) {
        buffer_append_text(out, "\",\"scope\":\"");
        append_slice(out, claims->scope);
    }
    buffer_append_text(out, "\"}");
}

bool access_token_sign(struct access_token_signer *signer, const struct access_token_claims *claims,
                       struct buffer *token)
{
    unsigned char signature[LIBJWT_SIGNATURE_MAX];
    size_t start = token->size, length;

    write_payload(&signer->payload, claims);
    buffer_append(token, signer->header.bytes, signer->header.size);
    append_base64url(token, signer->payload.bytes, signer->payload.size);
    *buffer_reserve(token, 1) = '\0';
    if (!libjwt_sign(&signer->signer, token->bytes + start, signature, &length)) {
        token->size = start;
        return false;
    }
    buffer_append(token, ".", 1);
    append_base64url(token, signature, length);
    *buffer_reserve(token, 1) = '\0';
    return true;
}
