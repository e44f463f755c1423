/* libFuzzer target: any bytes as an access token, and as its header or its payload. No token that
 * the key did not sign is valid, and no byte outside the text is read.
 *
 * The first byte of the input chooses: the whole token, the payload below a sound header, or a
 * header above a sound payload. What passes as claims is signed and has to be valid then.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/client/client.h"
#include "auth/client/scope.h"
#include "auth/token/access_token_verify.h"
#include "auth/token/key_file.h"
#include "common/base64.h"
#include "common/clock.h"

#define ISSUER "https://issuer.example"
#define NOW    1800000000

/* Unlike assert(), not dropped by a release build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct keyring ring;
static struct keyring_view view;
static struct buffer scratch, token;

static void begin(void)
{
    static char directory[] = "/tmp/jotd-fuzz-XXXXXX";
    char kid[KEY_KID_LENGTH + 1], path[128];
    struct failure failure;

    REQUIRE(mkdtemp(directory) != NULL);
    REQUIRE(key_file_create(directory, KEY_HS256, 1000, kid, &failure)); /* the quickest */
    keyring_open(&ring, directory);
    keyring_view_refresh(&view, &ring, NOW);
    REQUIRE(view.set != NULL && view.set->count == 1);
    snprintf(path, sizeof(path), "%s/%s.HS256.1000.pem", directory, kid);
    (void)unlink(path);
    (void)rmdir(directory);
}

/* The text in fresh memory of exactly its size, so that AddressSanitizer detects an overrun. */
static enum access_token_state verify(struct slice text, struct access_token **claims)
{
    char *copy = malloc(text.length != 0 ? text.length : 1);
    struct slice exact = {copy, text.length};
    enum access_token_state state;

    REQUIRE(copy != NULL);
    if (text.length != 0)
        memcpy(copy, text.bytes, text.length);
    *claims = NULL;
    state = access_token_verify_claims(exact, &view, ISSUER, NOW, &scratch, claims);
    REQUIRE((state == ACCESS_TOKEN_VALID) == (*claims != NULL));
    if (state == ACCESS_TOKEN_VALID) {
        struct access_token *found = *claims;

        REQUIRE(found->expires_at > NOW && client_id_is_valid(found->client_id));
        REQUIRE(scope_is_valid(found->audiences) && found->active.bytes[0] == '{' &&
                found->active.bytes[found->active.length - 1] == '}');
        REQUIRE(found->jti.bytes[6] >> 4 == 7);
        if (!access_token_verify_signature(exact, found, &view, NOW, &scratch))
            state = ACCESS_TOKEN_BAD_SIGNATURE;
    }
    free(copy);
    return state;
}

static void append_part(const void *bytes, size_t length)
{
    if (length != 0)
        base64_url_append(&token, bytes, length);
    buffer_append(&token, ".", 1);
}

static void sign(void)
{
    unsigned char signature[SIGNATURE_MAX];
    struct signer signer = {0};
    size_t length;

    REQUIRE(signer_open(&signer, view.set->keys));
    REQUIRE(signer_sign(&signer, token.bytes, token.size, signature, &length));
    buffer_append(&token, ".", 1);
    base64_url_append(&token, signature, length);
    signer_close(&signer);
}

static void check(bool is_signed)
{
    struct access_token *claims;
    enum access_token_state state = verify((struct slice){token.bytes, token.size}, &claims);

    REQUIRE(is_signed || state != ACCESS_TOKEN_VALID);
    REQUIRE(!is_signed || state != ACCESS_TOKEN_BAD_SIGNATURE);
    if (claims != NULL)
        access_token_verify_release(claims);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char payload[] =
        "{\"iss\":\"" ISSUER "\",\"sub\":\"c\",\"client_id\":\"c\",\"aud\":\"" ISSUER
        "\",\"exp\":1800000100,\"iat\":1800000000,\"jti\":\"01a31a48-d400-7000-8000-"
        "000000000000\"}";
    char header[128];
    int length;

    if (view.set == NULL)
        begin();
    if (size == 0)
        return 0;
    length = snprintf(header, sizeof(header),
                      "{\"alg\":\"HS256\",\"kid\":\"%s\",\"typ\":\"at+jwt\"}", view.set->keys->kid);
    buffer_clear(&token);
    switch (data[0] % 3) {
    case 0:
        buffer_append(&token, data + 1, size - 1);
        check(false);
        return 0;
    case 1:
        append_part(header, (size_t)length);
        append_part(data + 1, size - 1);
        break;
    default:
        append_part(data + 1, size - 1);
        append_part(payload, sizeof(payload) - 1);
        break;
    }
    check(false); /* without a signature */
    --token.size;
    sign();
    check(true);
    return 0;
}
