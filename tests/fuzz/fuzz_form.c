/* libFuzzer target: any bytes as a request body, and as one value. */
#include <stdint.h>
#include <stdlib.h>

#include "common/http/form.h"

/* Not assert(), which a release build drops. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#define FIELDS (4 + FORM_MAX_RESOURCES)

static const char *const names[] = {"grant_type", "scope", "client_id", "client_secret"};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly this size, so that AddressSanitizer sees one byte too many. */
static char *copy(const void *bytes, size_t size)
{
    char *result = malloc(size > 0 ? size : 1);

    REQUIRE(result != NULL);
    if (size > 0)
        memcpy(result, bytes, size);
    return result;
}

static size_t append(char *out, size_t length, const char *text)
{
    memcpy(out + length, text, strlen(text));
    return length + strlen(text);
}

static size_t append_escaped(char *out, size_t length, struct slice value)
{
    static const char hex[] = "0123456789ABCDEF";

    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.bytes[i];

        out[length++] = '%';
        out[length++] = hex[byte >> 4];
        out[length++] = hex[byte & 0x0f];
    }
    return length;
}

static void list_fields(const struct form *form, struct slice fields[FIELDS])
{
    fields[0] = form->grant_type;
    fields[1] = form->scope;
    fields[2] = form->client_id;
    fields[3] = form->client_secret;
    memcpy(fields + COUNT_OF(names), form->resources, sizeof(form->resources));
}

static void check_views(const struct form *form, const char *body, size_t size)
{
    struct slice fields[FIELDS];

    REQUIRE(form->resource_count <= FORM_MAX_RESOURCES);
    for (size_t i = 0; i < FORM_MAX_RESOURCES; i++)
        REQUIRE((form->resources[i].length > 0) == (i < form->resource_count));
    list_fields(form, fields);
    for (size_t i = 0; i < FIELDS; i++) {
        if (fields[i].length == 0)
            continue;
        REQUIRE(fields[i].bytes >= body && fields[i].bytes + fields[i].length <= body + size);
        REQUIRE(memchr(fields[i].bytes, '\0', fields[i].length) == NULL);
    }
}

/* Escaped and parsed again, every value is the same. */
static void check_round_trip(const struct form *form, size_t size)
{
    struct slice before[FIELDS], after[FIELDS];
    char *body = malloc(3 * size + FIELDS * 16); /* values are at most `size` bytes together */
    size_t length = 0;
    struct form again;

    REQUIRE(body != NULL);
    list_fields(form, before);
    for (size_t i = 0; i < COUNT_OF(names) + form->resource_count; i++) {
        length = append(body, length,
                        i < COUNT_OF(names) ? names[i]
                        : i % 2 == 0        ? "resource"
                                            : "audience");
        length = append(body, length, "=");
        length = append_escaped(body, length, before[i]);
        length = append(body, length, "&");
    }
    REQUIRE(form_parse(body, length, &again) == FORM_OK);
    list_fields(&again, after);
    for (size_t i = 0; i < FIELDS; i++)
        REQUIRE(slice_equal(before[i], after[i]));
    free(body);
}

/* A parameter that was accepted once is not accepted a second time. */
static void check_duplicates(const struct form *form, const uint8_t *data, size_t size)
{
    struct slice fields[FIELDS];

    list_fields(form, fields);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        char *body;
        struct form again;
        enum form_error error;
        size_t length = size;

        if (fields[i].length == 0)
            continue;
        body = malloc(size + 16);
        REQUIRE(body != NULL);
        memcpy(body, data, size);
        length = append(body, length, "&");
        length = append(body, length, names[i]);
        error = form_parse(body, length, &again);
        REQUIRE(error == FORM_DUPLICATE || error == FORM_TOO_MANY);
        free(body);
    }
}

static void check_decode(const uint8_t *data, size_t size)
{
    char *value = copy(data, size);
    char *escaped = malloc(3 * size + 1);
    size_t length, again_length;

    REQUIRE(escaped != NULL);
    if (form_decode(value, size, &length) == FORM_OK) {
        size_t escaped_length = append_escaped(escaped, 0, (struct slice){value, length});

        REQUIRE(length <= size);
        REQUIRE(form_decode(escaped, escaped_length, &again_length) == FORM_OK);
        REQUIRE(slice_equal((struct slice){value, length}, (struct slice){escaped, again_length}));
    }
    free(escaped);
    free(value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *body = copy(data, size);
    struct form form;

    if (form_parse(body, size, &form) == FORM_OK) {
        check_views(&form, body, size);
        check_round_trip(&form, size);
        check_duplicates(&form, data, size);
    }
    free(body);
    check_decode(data, size);
    return 0;
}
