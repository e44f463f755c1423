/* libFuzzer target: any bytes as a YAML document. */
#include <stdint.h>
#include <stdlib.h>

#include "common/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A value read is printed as JSON, which is also YAML and must read back the same. */
static void check_round_trip(json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    json_t *again;
    struct failure failure;

    if (text == NULL)
        abort();
    again = json_loads(text, JSON_DECODE_ANY, NULL);
    if (again == NULL || !json_equal(value, again))
        abort();
    json_decref(again);
    again = yaml_parse(slice_of(text), &failure);
    if (again != NULL && !json_equal(value, again))
        abort();
    json_decref(again);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct failure failure = {""};
    json_t *value = yaml_parse(text, &failure);

    if (value != NULL)
        check_round_trip(value);
    else if (failure.reason[0] == '\0')
        abort();
    json_decref(value);
    return 0;
}
