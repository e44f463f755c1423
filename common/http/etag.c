#include "common/http/etag.h"

#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>

void etag_make(struct slice body, char etag[static ETAG_SIZE])
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    uint64_t tag;

    SHA256((const unsigned char *)body.bytes, body.length, digest);
    memcpy(&tag, digest, sizeof(tag));
    snprintf(etag, ETAG_SIZE, "\"%016" PRIx64 "\"", tag);
}

bool etag_is_listed(struct slice if_none_match, const char *etag)
{
    return slice_equal(if_none_match, SLICE("*")) ||
           (if_none_match.length != 0 &&
            memmem(if_none_match.bytes, if_none_match.length, etag, strlen(etag)) != NULL);
}
