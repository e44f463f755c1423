#include "common/base64.h"

#include <openssl/evp.h>
#include <string.h>

size_t base64_url_encode(const void *bytes, size_t length, char *text)
{
    size_t size = (size_t)EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);

    while (size != 0 && text[size - 1] == '=')
        --size;
    text[size] = '\0';
    for (size_t i = 0; i != size; ++i) {
        if (text[i] == '+')
            text[i] = '-';
        else if (text[i] == '/')
            text[i] = '_';
    }
    return size;
}

void base64_url_append(struct buffer *out, const void *bytes, size_t length)
{
    out->size += base64_url_encode(bytes, length, buffer_reserve(out, BASE64_URL_SIZE(length)));
}

static bool is_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* OpenSSL's decoder skips white space, stops at `-` and counts padding as bytes: so check the text
 * first, and take the padding off afterwards. */
bool base64_decode(struct slice text, char *bytes, size_t *length)
{
    size_t digits = text.length;

    if (text.length == 0 || text.length % 4 != 0)
        return false;
    while (digits > text.length - 2 && text.bytes[digits - 1] == '=')
        --digits;
    for (size_t i = 0; i != digits; ++i) {
        if (!is_digit(text.bytes[i]))
            return false;
    }
    if (EVP_DecodeBlock((unsigned char *)bytes, (const unsigned char *)text.bytes,
                        (int)text.length) < 0)
        return false;
    *length = text.length / 4 * 3 - (text.length - digits);
    return true;
}

/* By way of standard base64, in place: a decoder reads four characters before it writes three. */
bool base64_url_decode(struct slice text, char *bytes, size_t *length)
{
    size_t padding = (4 - text.length % 4) % 4;

    if (padding == 3)
        return false;
    for (size_t i = 0; i != text.length; ++i) {
        char c = text.bytes[i];

        if (c == '+' || c == '/' || c == '=')
            return false;
        bytes[i] = (char)(c == '-' ? '+' : c == '_' ? '/' : c);
    }
    memset(bytes + text.length, '=', padding);
    return base64_decode((struct slice){bytes, text.length + padding}, bytes, length);
}
