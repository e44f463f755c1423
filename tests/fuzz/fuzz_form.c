/* libFuzzer target: any bytes as a request body, and as one value. */
#include <stdint.h>
#include <stdlib.h>

#include "common/http/form.h"

/* Unlike assert(), not dropped by a release build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static const char *const repeatable[] = {"resource", "audience", NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of exactly this size, so that AddressSanitizer detects an overrun by one byte. */
static char *copy(const void *bytes, size_t size)
{
    char *result = malloc(size > 0 ? size : 1);

    REQUIRE(result != NULL);
    if (size > 0)
        memcpy(result, bytes, size);
    return result;
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

static bool is_within(struct slice view, const char *body, size_t size)
{
    return view.bytes >= body && view.bytes + view.length <= body + size &&
           memchr(view.bytes, '\0', view.length) == NULL;
}

static void check_views(const struct form *form, const char *body, size_t size)
{
    REQUIRE(form->count <= FORM_MAX_PARAMETERS);
    for (size_t i = 0; i != form->count; ++i) {
        REQUIRE(is_within(form->parameters[i].name, body, size));
        REQUIRE(is_within(form->parameters[i].value, body, size));
    }
}

/* After escaping and parsing, every name and value is the same. */
static void check_round_trip(const struct form *form, size_t size)
{
    char *body = malloc(3 * size + 2 * FORM_MAX_PARAMETERS);
    size_t length = 0;
    struct form again;

    REQUIRE(body != NULL);
    for (size_t i = 0; i != form->count; ++i) {
        length = append_escaped(body, length, form->parameters[i].name);
        body[length++] = '=';
        length = append_escaped(body, length, form->parameters[i].value);
        body[length++] = '&';
    }
    REQUIRE(form_parse(body, length, repeatable, &again) == FORM_OK);
    REQUIRE(again.count == form->count);
    for (size_t i = 0; i != form->count; ++i) {
        REQUIRE(slice_equal(form->parameters[i].name, again.parameters[i].name));
        REQUIRE(slice_equal(form->parameters[i].value, again.parameters[i].value));
    }
    free(body);
}

/* A parameter accepted once is rejected a second time, unless it may repeat. */
static void check_duplicates(const struct form *form, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i != form->count; ++i) {
        struct slice name = form->parameters[i].name;
        bool repeats = slice_equal(name, SLICE("resource")) || slice_equal(name, SLICE("audience"));
        char *body = malloc(size + 2 + 3 * name.length);
        struct form again;
        enum form_error error;
        size_t length = size;

        REQUIRE(body != NULL);
        memcpy(body, data, size);
        body[length++] = '&';
        length = append_escaped(body, length, name);
        body[length++] = '='; /* with an empty name */
        error = form_parse(body, length, repeatable, &again);
        REQUIRE(error == FORM_TOO_MANY || error == (repeats ? FORM_OK : FORM_DUPLICATE));
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

    if (form_parse(body, size, repeatable, &form) == FORM_OK) {
        check_views(&form, body, size);
        check_round_trip(&form, size);
        check_duplicates(&form, data, size);
    }
    free(body);
    check_decode(data, size);
    return 0;
}
