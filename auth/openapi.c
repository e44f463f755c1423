#include "auth/openapi.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/yaml.h"

extern const char openapi_yaml[]; /* made at build */

static bool make_own(json_t *document, const char *issuer)
{
    struct slice url = slice_trim_end(slice_of(issuer), '/');
    json_t *info = json_object_get(document, "info");

    return json_object_set_new(info, "version", json_string(JOTD_VERSION)) == 0 &&
           json_object_set_new(document, "servers",
                               json_pack("[{s:s%}]", "url", url.bytes, url.length)) == 0;
}

bool openapi_open(struct openapi *openapi, const char *issuer, struct failure *failure)
{
    json_t *document = yaml_parse(slice_of(openapi_yaml), failure);

    *openapi = (struct openapi){0};
    if (document == NULL)
        return false;
    if (make_own(document, issuer))
        openapi->text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    if (openapi->text == NULL)
        return failure_set(failure, "out of memory");
    openapi->length = strlen(openapi->text);
    etag_make((struct slice){openapi->text, openapi->length}, openapi->etag);
    return true;
}

void openapi_close(struct openapi *openapi)
{
    free(openapi->text);
}
