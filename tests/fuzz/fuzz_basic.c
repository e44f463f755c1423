/* libFuzzer target: any bytes as an Authorization header, after "Basic ", and as the decoded
 * base64. */
#include <openssl/evp.h>
#include <stdint.h>
#include <stdlib.h>

#include "auth/client/credentials.h"

/* Unlike assert(), not dropped by a release build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool is_within(struct slice view, const struct credentials *credentials)
{
    return view.bytes >= credentials->basic &&
           view.bytes + view.length <= credentials->basic + sizeof(credentials->basic);
}

static void check_half(struct slice half, const struct credentials *credentials)
{
    REQUIRE(half.length > 0 && is_within(half, credentials));
    for (size_t i = 0; i < half.length; i++) {
        unsigned char byte = (unsigned char)half.bytes[i];

        REQUIRE(byte >= 0x20 && byte != 0x7f);
    }
}

static size_t escape(struct slice value, char *out)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.bytes[i];

        *out++ = '%';
        *out++ = hex[byte >> 4];
        *out++ = hex[byte & 0x0f];
    }
    return 3 * value.length;
}

/* The header is in fresh memory of exactly the returned size, so that AddressSanitizer detects an
 * overrun by one byte. */
static struct slice make_header(const void *token, size_t length)
{
    char *header = malloc(6 + length);

    REQUIRE(header != NULL);
    memcpy(header, "Basic ", 6);
    if (length > 0)
        memcpy(header + 6, token, length);
    return (struct slice){header, 6 + length};
}

static struct slice make_encoded_header(const void *text, size_t length)
{
    unsigned char *token = malloc(length / 3 * 4 + 5);
    struct slice header;

    REQUIRE(token != NULL);
    header = make_header(token, (size_t)EVP_EncodeBlock(token, text, (int)length));
    free(token);
    return header;
}

/* After escaping, encoding and parsing, id and secret are the same, unless they are too long by
 * then. */
static void check_round_trip(const struct credentials *credentials)
{
    struct credentials again;
    char text[3 * CREDENTIALS_BASIC_MAX];
    size_t length = escape(credentials->id, text);
    struct slice header;
    enum credentials_error error;

    text[length++] = ':';
    length += escape(credentials->secret, text + length);
    header = make_encoded_header(text, length);
    error = credentials_read(header, SLICE(""), SLICE(""), &again);
    if (header.length - 6 > CREDENTIALS_BASIC_MAX) {
        REQUIRE(error == CREDENTIALS_MALFORMED);
    } else {
        REQUIRE(error == CREDENTIALS_OK);
        REQUIRE(slice_equal(credentials->id, again.id));
        REQUIRE(slice_equal(credentials->secret, again.secret));
    }
    free((char *)header.bytes);
}

/* A body with the same client is accepted; another client or a secret is a second method. */
static void check_with_body(struct slice header, const struct credentials *credentials)
{
    struct slice none = SLICE(""), other = {credentials->id.bytes, credentials->id.length - 1};
    struct credentials again;

    REQUIRE(credentials_read(header, credentials->id, none, &again) == CREDENTIALS_OK);
    REQUIRE(credentials_read(header, none, SLICE("x"), &again) == CREDENTIALS_TWO_METHODS);
    if (other.length > 0)
        REQUIRE(credentials_read(header, other, none, &again) == CREDENTIALS_TWO_METHODS);
}

static void check_header(struct slice header)
{
    struct credentials credentials;

    if (credentials_read(header, SLICE(""), SLICE(""), &credentials) != CREDENTIALS_OK)
        return;
    check_half(credentials.id, &credentials);
    check_half(credentials.secret, &credentials);
    check_round_trip(&credentials);
    check_with_body(header, &credentials);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice after_basic = make_header(data, size);
    struct slice encoded = make_encoded_header(data, size);

    check_header((struct slice){(const char *)data, size});
    check_header(after_basic);
    check_header(encoded);
    free((char *)after_basic.bytes);
    free((char *)encoded.bytes);
    return 0;
}
