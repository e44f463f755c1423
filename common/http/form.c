#include "common/http/form.h"

#include <openssl/crypto.h>

static bool needs_decoding(const char *bytes, size_t length)
{
    return memchr(bytes, '%', length) != NULL || memchr(bytes, '+', length) != NULL ||
           memchr(bytes, '\0', length) != NULL;
}

enum form_error form_decode(char *bytes, size_t length, size_t *decoded_length)
{
    size_t out = 0;

    *decoded_length = length;
    if (!needs_decoding(bytes, length)) /* such as a token: three memchr are faster than the loop */
        return FORM_OK;
    for (size_t in = 0; in < length; in++) {
        char byte = bytes[in];

        if (byte == '+') {
            byte = ' ';
        } else if (byte == '%') {
            if (length - in < 3)
                return FORM_BAD_ESCAPE;
            int high = OPENSSL_hexchar2int((unsigned char)bytes[in + 1]);
            int low = OPENSSL_hexchar2int((unsigned char)bytes[in + 2]);
            if (high < 0 || low < 0)
                return FORM_BAD_ESCAPE;
            byte = (char)(high << 4 | low);
            in += 2;
        }
        if (byte == '\0')
            return FORM_NUL;
        bytes[out++] = byte;
    }
    memset(bytes + out, 0, length - out); /* leave no half of a secret behind */
    *decoded_length = out;
    return FORM_OK;
}

/* A pair without `=` is a name with an empty value. */
static enum form_error decode_pair(char *pair, size_t length, struct slice *name,
                                   struct slice *value)
{
    const char *equals = memchr(pair, '=', length);
    size_t name_length = equals ? (size_t)(equals - pair) : length;
    size_t value_start = equals ? name_length + 1 : length;
    enum form_error error;

    name->bytes = pair;
    error = form_decode(pair, name_length, &name->length);
    if (error != FORM_OK)
        return error;
    value->bytes = pair + value_start;
    return form_decode(pair + value_start, length - value_start, &value->length);
}

static bool may_repeat(struct slice name, const char *const *repeatable)
{
    for (; *repeatable != NULL; ++repeatable) {
        if (slice_equal(name, slice_of(*repeatable)))
            return true;
    }
    return false;
}

static bool is_there(const struct form *form, struct slice name)
{
    for (size_t i = 0; i != form->count; ++i) {
        if (slice_equal(name, form->parameters[i].name))
            return true;
    }
    return false;
}

enum form_error form_parse(char *bytes, size_t length, const char *const *repeatable,
                           struct form *form)
{
    size_t pair_length;

    form->count = 0;
    for (size_t start = 0; start < length; start += pair_length + 1) {
        char *pair = bytes + start;
        const char *ampersand = memchr(pair, '&', length - start);
        struct slice name, value;
        enum form_error error;

        pair_length = ampersand ? (size_t)(ampersand - pair) : length - start;
        if (pair_length == 0)
            continue;
        if (form->count == FORM_MAX_PARAMETERS)
            return FORM_TOO_MANY;
        error = decode_pair(pair, pair_length, &name, &value);
        if (error != FORM_OK)
            return error;
        if (is_there(form, name) && !may_repeat(name, repeatable))
            return FORM_DUPLICATE;
        form->parameters[form->count].name = name;
        form->parameters[form->count++].value = value;
    }
    return FORM_OK;
}

struct slice form_get(const struct form *form, struct slice name)
{
    for (size_t i = 0; i != form->count; ++i) {
        if (slice_equal(name, form->parameters[i].name))
            return form->parameters[i].value;
    }
    return SLICE("");
}
