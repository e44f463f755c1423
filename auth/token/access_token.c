#include "auth/token/access_token.h"

#include <stdio.h>
#include <string.h>

#include "common/base64.h"

/* RFC 9068 2.1: typ distinguishes an access token from other JWTs. */
static void write_header(struct buffer *header, const struct signing_key *key)
{
    char text[128];
    int length = snprintf(text, sizeof(text), "{\"alg\":\"%s\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}",
                          key_alg_name(key->alg), key->kid);

    buffer_clear(header);
    base64_url_append(header, text, (size_t)length);
    buffer_append(header, ".", 1);
}

bool access_token_signer_set(struct access_token_signer *signer, const struct signing_key *key)
{
    signer_close(&signer->signer);
    if (!signer_open(&signer->signer, key))
        return false;
    memcpy(signer->kid, key->kid, sizeof(signer->kid));
    signer->alg = key->alg;
    signer->retire_at = key->retire_at;
    write_header(&signer->header, key);
    return true;
}

void access_token_signer_dispose(struct access_token_signer *signer)
{
    signer_close(&signer->signer);
    buffer_dispose(&signer->header);
    buffer_dispose(&signer->payload);
}

static void append_slice(struct buffer *out, struct slice text)
{
    buffer_append(out, text.bytes, text.length);
}

/* RFC 7519 4.1.3: a string for a single audience, otherwise an array. */
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
    buffer_append_text(out, claims->others.length != 0 ? "\"," : "\"");
    append_slice(out, claims->others);
    buffer_append_text(out, "}");
}

bool access_token_sign(struct access_token_signer *signer, const struct access_token_claims *claims,
                       struct buffer *token)
{
    unsigned char signature[SIGNATURE_MAX];
    size_t start = token->size, length;

    write_payload(&signer->payload, claims);
    buffer_append(token, signer->header.bytes, signer->header.size);
    base64_url_append(token, signer->payload.bytes, signer->payload.size);
    if (!signer_sign(&signer->signer, token->bytes + start, token->size - start, signature,
                     &length)) {
        token->size = start;
        return false;
    }
    buffer_append(token, ".", 1);
    base64_url_append(token, signature, length);
    *buffer_reserve(token, 1) = '\0';
    return true;
}
