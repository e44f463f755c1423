#include "auth/client/credentials.h"

#include <string.h>
#include <strings.h>

#include "common/base64.h"
#include "common/http/form.h"

/* Extracts the token after the scheme name, which is case-insensitive (RFC 9110 11.1), without the
 * surrounding spaces. False for any other scheme. */
static bool basic_token(struct slice authorization, struct slice *token)
{
    static const struct slice scheme = {"Basic", 5};
    size_t start = scheme.length;
    size_t end = authorization.length;

    if (end < start || strncasecmp(authorization.bytes, scheme.bytes, scheme.length) != 0)
        return false;
    if (end > start && authorization.bytes[start] != ' ')
        return false;
    while (end > start && authorization.bytes[end - 1] == ' ')
        end--;
    while (start < end && authorization.bytes[start] == ' ')
        start++;
    *token = (struct slice){authorization.bytes + start, end - start};
    return true;
}

/* RFC 7617 2: no control characters in either half. */
static bool has_control_character(struct slice text)
{
    for (size_t i = 0; i < text.length; i++) {
        unsigned char byte = (unsigned char)text.bytes[i];

        if (byte < 0x20 || byte == 0x7f)
            return true;
    }
    return false;
}

/* RFC 6749 2.3.1: id and secret are form-encoded, then joined. */
static bool decode_half(char *bytes, size_t length, struct slice *half)
{
    half->bytes = bytes;
    return form_decode(bytes, length, &half->length) == FORM_OK;
}

static enum credentials_error read_basic(struct slice token, struct credentials *credentials)
{
    char *text = credentials->basic;
    size_t length, id_length;
    const char *colon;

    if (token.length > CREDENTIALS_BASIC_MAX || !base64_decode(token, text, &length))
        return CREDENTIALS_MALFORMED;
    colon = memchr(text, ':', length);
    if (colon == NULL)
        return CREDENTIALS_MALFORMED;
    id_length = (size_t)(colon - text);
    if (!decode_half(text, id_length, &credentials->id) ||
        !decode_half(text + id_length + 1, length - id_length - 1, &credentials->secret))
        return CREDENTIALS_MALFORMED;
    if (has_control_character(credentials->id) || has_control_character(credentials->secret))
        return CREDENTIALS_CONTROL;
    if (credentials->id.length == 0 || credentials->secret.length == 0)
        return CREDENTIALS_NONE;
    return CREDENTIALS_OK;
}

enum credentials_error credentials_read(struct slice authorization, struct slice id,
                                        struct slice secret, struct credentials *credentials)
{
    struct slice token;
    enum credentials_error error;

    if (authorization.length == 0) {
        credentials->id = id;
        credentials->secret = secret;
        return id.length != 0 && secret.length != 0 ? CREDENTIALS_OK : CREDENTIALS_NONE;
    }
    /* RFC 6749 2.3: one method per request. */
    if (secret.length != 0)
        return CREDENTIALS_TWO_METHODS;
    if (!basic_token(authorization, &token))
        return CREDENTIALS_NONE;
    error = read_basic(token, credentials);
    if (error != CREDENTIALS_OK)
        return error;
    if (id.length != 0 && !slice_equal(id, credentials->id))
        return CREDENTIALS_TWO_METHODS;
    return CREDENTIALS_OK;
}
