#include "common/http/http_head.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "common/slice.h"

struct head {
    bool is_1_0;
    int hosts, lengths, codings;
};

/* Takes the next line off `rest`, without its CRLF; false unless it ends in exactly one CRLF. */
static bool take_line(struct slice *rest, struct slice *line)
{
    const char *end = memchr(rest->bytes, '\n', rest->length);
    size_t length;

    if (end == NULL)
        return false;
    length = (size_t)(end - rest->bytes);
    if (length == 0 || memchr(rest->bytes, '\r', length) != end - 1)
        return false;
    *line = (struct slice){rest->bytes, length - 1};
    *rest = (struct slice){end + 1, rest->length - length - 1};
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct slice trim(struct slice value)
{
    while (value.length != 0 && is_blank(value.bytes[0]))
        value = (struct slice){value.bytes + 1, value.length - 1};
    while (value.length != 0 && is_blank(value.bytes[value.length - 1]))
        --value.length;
    return value;
}

static bool equals(struct slice text, struct slice word)
{
    return text.length == word.length && strncasecmp(text.bytes, word.bytes, word.length) == 0;
}

static bool is_number(struct slice value)
{
    for (size_t i = 0; i != value.length; ++i) {
        if (value.bytes[i] < '0' || value.bytes[i] > '9')
            return false;
    }
    return value.length != 0;
}

static const char *read_field(struct head *head, struct slice line)
{
    const char *colon = memchr(line.bytes, ':', line.length);
    struct slice name, value;

    if (is_blank(line.bytes[0])) /* RFC 9112 5.2 */
        return "A header is folded over two lines; send it in one.";
    if (colon == NULL)
        return "A header has no colon.";
    name = (struct slice){line.bytes, (size_t)(colon - line.bytes)};
    value = trim((struct slice){colon + 1, line.length - name.length - 1});
    if (equals(name, SLICE("host"))) {
        ++head->hosts;
    } else if (equals(name, SLICE("content-length"))) {
        ++head->lengths;
        if (!is_number(value)) /* RFC 9112 6.3, 5 */
            return "Content-Length is not one number.";
    } else if (equals(name, SLICE("transfer-encoding"))) {
        ++head->codings;
        if (!equals(value, SLICE("chunked")))
            return "The only Transfer-Encoding here is chunked.";
    }
    return NULL;
}

static const char *judge(const struct head *head)
{
    if (head->hosts > 1 || (head->hosts == 0 && !head->is_1_0)) /* RFC 9112 3.2 */
        return "Send one Host header.";
    if (head->lengths > 1)
        return "Send one Content-Length header.";
    if (head->codings > 1)
        return "Send one Transfer-Encoding header.";
    if (head->codings != 0 && head->lengths != 0) /* RFC 9112 6.1 */
        return "Send Content-Length or Transfer-Encoding, not both.";
    if (head->codings != 0 && head->is_1_0)
        return "HTTP/1.0 has no Transfer-Encoding.";
    return NULL;
}

const char *http_head_complaint(const char *bytes, size_t length, bool *chunked)
{
    struct slice rest = {bytes, length}, line, version = SLICE("HTTP/1.0");
    struct head head = {0};
    const char *complaint;

    *chunked = false;
    if (length >= 2 && memcmp(bytes, "\r\n", 2) == 0) /* RFC 9112 2.2 */
        rest = (struct slice){bytes + 2, length - 2};
    for (bool first = true; take_line(&rest, &line); first = false) {
        if (first)
            head.is_1_0 =
                line.length >= version.length && memcmp(line.bytes + line.length - version.length,
                                                        version.bytes, version.length) == 0;
        else if (line.length == 0)
            return *chunked = head.codings != 0, judge(&head);
        else if ((complaint = read_field(&head, line)) != NULL)
            return complaint;
    }
    return "A line of the head does not end in CRLF.";
}

size_t http_head_length(const char *bytes, size_t length)
{
    size_t most = length < HTTP_HEAD_MAX ? length : HTTP_HEAD_MAX;
    const char *end = most != 0 ? memmem(bytes, most, "\r\n\r\n", 4) : NULL;

    return end != NULL ? (size_t)(end - bytes) + 4 : 0;
}
