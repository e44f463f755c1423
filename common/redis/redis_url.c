#include "common/redis/redis_url.h"

#include <stdlib.h>
#include <string.h>

#include "common/slice.h"

/* Copies a part and adds a NUL; false when it is too long. */
static bool copy(struct slice part, char *to, size_t size)
{
    if (part.length >= size)
        return false;
    memcpy(to, part.bytes, part.length);
    to[part.length] = '\0';
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The same, percent-decoded. */
static bool decode(struct slice part, char *to, size_t size)
{
    size_t length = 0;

    for (size_t i = 0; i != part.length; ++i) {
        char c = part.bytes[i];

        if (c == '%') {
            int high = part.length - i > 2 ? hex_digit(part.bytes[i + 1]) : -1;
            int low = part.length - i > 2 ? hex_digit(part.bytes[i + 2]) : -1;

            if (high == -1 || low == -1 || high + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (length + 1 >= size)
            return false;
        to[length++] = c;
    }
    to[length] = '\0';
    return true;
}

static bool is_number(const char *text, unsigned long max)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text) &&
           strtoul(text, NULL, 10) <= max;
}

/* Takes user and password, up to the last @, off `text`. */
static bool read_user(struct slice *text, struct redis_url *url)
{
    const char *at = memrchr(text->bytes, '@', text->length), *colon;
    struct slice user;

    if (at == NULL)
        return true;
    user = (struct slice){text->bytes, (size_t)(at - text->bytes)};
    *text = (struct slice){at + 1, text->length - user.length - 1};
    if ((colon = memchr(user.bytes, ':', user.length)) == NULL ||
        !decode((struct slice){colon + 1, (size_t)(at - colon) - 1}, url->password,
                sizeof(url->password)))
        return false;
    user.length = (size_t)(colon - user.bytes);
    return decode(user, url->user, sizeof(url->user)) && url->password[0] != '\0';
}

/* host[:port] or [IPv6 address][:port] */
static bool read_host(struct slice text, struct redis_url *url)
{
    const char *colon = memrchr(text.bytes, ':', text.length);
    const char *bracket = memchr(text.bytes, ']', text.length);

    strcpy(url->port, "6379");
    if (colon != NULL && (bracket == NULL || colon > bracket)) {
        struct slice port = {colon + 1, text.length - (size_t)(colon + 1 - text.bytes)};

        if (!copy(port, url->port, sizeof(url->port)) || !is_number(url->port, 65535) ||
            strtoul(url->port, NULL, 10) == 0)
            return false;
        text.length = (size_t)(colon - text.bytes);
    }
    if (text.length > 2 && text.bytes[0] == '[' && text.bytes[text.length - 1] == ']')
        text = (struct slice){text.bytes + 1, text.length - 2};
    else if (memchr(text.bytes, ':', text.length) != NULL)
        return false;
    return text.length != 0 && copy(text, url->host, sizeof(url->host));
}

static bool read_tcp(struct slice text, struct redis_url *url)
{
    const char *slash;
    struct slice host = text;

    if (!read_user(&host, url))
        return false;
    text = host;
    if ((slash = memchr(text.bytes, '/', text.length)) != NULL) {
        struct slice database = {slash + 1, text.length - (size_t)(slash + 1 - text.bytes)};

        host.length = (size_t)(slash - text.bytes);
        if (database.length != 0 && !copy(database, url->database, sizeof(url->database)))
            return false;
    }
    return read_host(host, url);
}

static bool read_local(struct slice text, struct redis_url *url)
{
    const char *query;

    if (text.length != 0 && text.bytes[0] != '/' && !read_user(&text, url))
        return false;
    if ((query = memchr(text.bytes, '?', text.length)) != NULL) {
        struct slice rest = {query, text.length - (size_t)(query - text.bytes)};

        if (rest.length < 5 || memcmp(rest.bytes, "?db=", 4) != 0 ||
            !copy((struct slice){rest.bytes + 4, rest.length - 4}, url->database,
                  sizeof(url->database)))
            return false;
        text.length -= rest.length;
    }
    return text.length > 1 && text.bytes[0] == '/' && copy(text, url->path, sizeof(url->path));
}

bool redis_url_parse(const char *text, struct redis_url *url)
{
    bool read = false;

    *url = (struct redis_url){.database = "0"};
    if (strncmp(text, "redis://", 8) == 0)
        read = read_tcp(slice_of(text + 8), url);
    else if (strncmp(text, "unix://", 7) == 0)
        read = read_local(slice_of(text + 7), url);
    return read && is_number(url->database, 65535);
}
