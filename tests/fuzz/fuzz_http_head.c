/* libFuzzer target: any bytes as the head of a request, compared with libh2o's own parser, which
 * must accept a head before ours checks it. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/http/http_head.h"

/* Unlike assert(), not dropped by a release build. */
#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

#define HEADERS_MAX 100 /* libh2o's limit */

/* Exported but not declared by libh2o. */
struct phr_header {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};
int phr_parse_request(const char *buf, size_t len, const char **method, size_t *method_len,
                      const char **path, size_t *path_len, int *minor_version,
                      struct phr_header *headers, size_t *num_headers, size_t last_len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct parsed {
    int minor, length; /* of the head; length <= 0: libh2o rejects it */
    struct phr_header headers[HEADERS_MAX];
    size_t count;
};

static void parse(struct parsed *parsed, const char *bytes, size_t size)
{
    const char *method, *path;
    size_t method_length, path_length;

    parsed->count = HEADERS_MAX;
    parsed->length = phr_parse_request(bytes, size, &method, &method_length, &path, &path_length,
                                       &parsed->minor, parsed->headers, &parsed->count, 0);
}

static size_t count(const struct parsed *parsed, const char *name)
{
    size_t found = 0;

    for (size_t i = 0; i != parsed->count; ++i) {
        const struct phr_header *header = &parsed->headers[i];

        REQUIRE(header->name != NULL); /* NULL: a folded line */
        found += header->name_len == strlen(name) &&
                 strncasecmp(header->name, name, header->name_len) == 0;
    }
    return found;
}

/* Both accepted it, so libh2o cannot have seen two ways to frame it. */
static void check_framing(const struct parsed *parsed, bool chunked)
{
    size_t hosts = count(parsed, "host"), lengths = count(parsed, "content-length"),
           codings = count(parsed, "transfer-encoding");

    REQUIRE(hosts <= 1 && lengths + codings <= 1);
    REQUIRE(chunked == (codings == 1));
    if (parsed->minor == 0)
        REQUIRE(codings == 0);
    else
        REQUIRE(hosts == 1);
}

static bool is_sound(const char *bytes, size_t size, bool *chunked)
{
    char *copy = malloc(size > 0 ? size : 1); /* so that AddressSanitizer detects an overrun */
    bool sound;

    REQUIRE(copy != NULL);
    if (size > 0)
        memcpy(copy, bytes, size);
    sound = http_head_complaint(copy, size, chunked) == NULL;
    free(copy);
    return sound;
}

/* With this line added at its end, the head is rejected. */
static void check_addition(const char *bytes, size_t length, const char *line)
{
    char *longer = malloc(length + strlen(line) + 3);
    bool chunked;

    REQUIRE(longer != NULL);
    length = (size_t)sprintf(longer, "%.*s%s\r\n", (int)length - 2, bytes, line);
    REQUIRE(!is_sound(longer, length, &chunked));
    free(longer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *bytes = (const char *)data;
    bool chunked, again;
    bool sound = is_sound(bytes, size, &chunked);
    struct parsed parsed;

    parse(&parsed, bytes, size);
    if (!sound || parsed.length <= 0)
        return 0;
    check_framing(&parsed, chunked);
    /* Bytes after the head change nothing, and a truncated head is rejected. */
    REQUIRE(is_sound(bytes, (size_t)parsed.length, &again) && again == chunked);
    REQUIRE(!is_sound(bytes, (size_t)parsed.length - 1, &again));
    if (memchr(bytes, '\0', (size_t)parsed.length) == NULL) {
        check_addition(bytes, (size_t)parsed.length, "Host: a\r\nHost: b\r\n");
        check_addition(bytes, (size_t)parsed.length,
                       "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n");
        check_addition(bytes, (size_t)parsed.length, " folded: 1\r\n");
    }
    return 0;
}
