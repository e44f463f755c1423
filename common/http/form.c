/* Form parameters: see form.h. */
#include "common/http/form.h"

#include <openssl/crypto.h>

enum form_error form_decode(char *bytes, size_t length, size_t *decoded_length)
{
    size_t out = 0;

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
    memset(bytes + out, 0, length - out); /* no half of a secret is left behind its end */
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

static bool is_among(struct slice name, const struct slice *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(name, names[i]))
            return true;
    }
    return false;
}

static enum form_error add_resource(struct form *form, struct slice value)
{
    if (value.length == 0)
        return FORM_OK;
    if (form->resource_count == FORM_MAX_RESOURCES)
        return FORM_TOO_MANY;
    form->resources[form->resource_count++] = value;
    return FORM_OK;
}

static void set_field(struct form *form, struct slice name, struct slice value)
{
    const struct {
        struct slice name;
        struct slice *value;
    } fields[] = {
        {SLICE("grant_type"), &form->grant_type},
        {SLICE("scope"), &form->scope},
        {SLICE("client_id"), &form->client_id},
        {SLICE("client_secret"), &form->client_secret},
    };

    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (slice_equal(name, fields[i].name))
            *fields[i].value = value;
    }
}

enum form_error form_parse(char *bytes, size_t length, struct form *form)
{
    struct slice names[FORM_MAX_PARAMETERS];
    size_t count = 0;
    size_t pair_length;

    *form = (struct form){0};
    for (size_t start = 0; start < length; start += pair_length + 1) {
        char *pair = bytes + start;
        const char *ampersand = memchr(pair, '&', length - start);
        struct slice name, value;
        enum form_error error;

        pair_length = ampersand ? (size_t)(ampersand - pair) : length - start;
        if (pair_length == 0)
            continue;
        if (count == FORM_MAX_PARAMETERS)
            return FORM_TOO_MANY;
        error = decode_pair(pair, pair_length, &name, &value);
        if (error != FORM_OK)
            return error;

        if (slice_equal(name, SLICE("resource")) || slice_equal(name, SLICE("audience"))) {
            error = add_resource(form, value);
            if (error != FORM_OK)
                return error;
        } else if (is_among(name, names, count)) {
            return FORM_DUPLICATE;
        } else {
            set_field(form, name, value);
        }
        names[count++] = name;
    }
    return FORM_OK;
}
