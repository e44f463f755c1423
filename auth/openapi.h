/* This server's OpenAPI document: the embedded docs/openapi.yaml as JSON, with the server's own
 * version and URL. */
#ifndef AUTH_OPENAPI_H
#define AUTH_OPENAPI_H

#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/http/etag.h"

struct openapi {
    char *text;
    size_t length;
    char etag[ETAG_SIZE];
};

MUST_USE bool openapi_open(struct openapi *openapi, const char *issuer, struct failure *failure);
void openapi_close(struct openapi *openapi);

#endif
