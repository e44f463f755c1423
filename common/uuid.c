#include "common/uuid.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>

#define TIME_LENGTH   6
#define RANDOM_LENGTH 10

/* Whether a hyphen precedes this byte in the text form (RFC 9562 4). */
static bool hyphen_before(size_t byte)
{
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

static bool take_random(struct uuid_source *source, unsigned char *out)
{
    if (source->left < RANDOM_LENGTH) {
        source->left = 0;
        if (RAND_bytes(source->block, sizeof(source->block)) != 1)
            return false;
        source->left = sizeof(source->block);
    }
    memcpy(out, source->block + sizeof(source->block) - source->left, RANDOM_LENGTH);
    source->left -= RANDOM_LENGTH;
    return true;
}

bool uuid_v7_make(struct uuid_source *source, int64_t unix_ms, struct uuid *uuid)
{
    unsigned char *bytes = uuid->bytes;

    if (!take_random(source, bytes + TIME_LENGTH))
        return false;
    for (size_t i = 0; i < TIME_LENGTH; i++)
        bytes[i] = (unsigned char)(unix_ms >> (8 * (TIME_LENGTH - 1 - i)));
    bytes[6] = (unsigned char)(0x70 | (bytes[6] & 0x0f)); /* version 7 */
    bytes[8] = (unsigned char)(0x80 | (bytes[8] & 0x3f)); /* variant 10 */
    return true;
}

void uuid_format(const struct uuid *uuid, char *text)
{
    static const char hex[] = "0123456789abcdef";

    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        if (hyphen_before(i))
            *text++ = '-';
        *text++ = hex[uuid->bytes[i] >> 4];
        *text++ = hex[uuid->bytes[i] & 0x0f];
    }
}

bool uuid_parse(struct slice text, struct uuid *uuid)
{
    const char *next = text.bytes;

    if (text.length != UUID_TEXT_LENGTH)
        return false;
    for (size_t i = 0; i < sizeof(uuid->bytes); i++) {
        if (hyphen_before(i) && *next++ != '-')
            return false;
        int high = OPENSSL_hexchar2int((unsigned char)*next++);
        int low = OPENSSL_hexchar2int((unsigned char)*next++);
        if (high < 0 || low < 0)
            return false;
        uuid->bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

int64_t uuid_v7_unix_ms(const struct uuid *uuid)
{
    int64_t unix_ms = 0;

    for (size_t i = 0; i < TIME_LENGTH; i++)
        unix_ms = unix_ms << 8 | uuid->bytes[i];
    return unix_ms;
}
