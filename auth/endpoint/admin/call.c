#include "auth/endpoint/admin/call.h"

#include <string.h>
#include <time.h>

#include "auth/client/scope.h"
#include "common/integer.h"

enum call_scope call_scope_of(struct slice scope)
{
    return scope_has(scope, SLICE(GUARD_SCOPE_ADMIN))   ? CALL_ADMIN
           : scope_has(scope, SLICE(GUARD_SCOPE_WRITE)) ? CALL_WRITE
           : scope_has(scope, SLICE(GUARD_SCOPE_READ))  ? CALL_READ
                                                        : CALL_NOTHING;
}

const char *call_value(const struct call *call, const char *name)
{
    const char *const *names = call->operation->parameters;

    for (size_t i = 0; names[i] != NULL; ++i) {
        if (strcmp(names[i], name) == 0)
            return call->values[i];
    }
    return NULL;
}

bool call_boolean(const struct call *call, const char *name, bool *value, const bool **given,
                  struct store_failure *failure)
{
    const char *text = call_value(call, name);

    *given = text != NULL ? value : NULL;
    if (text == NULL)
        return true;
    *value = strcmp(text, "true") == 0;
    return *value || strcmp(text, "false") == 0 ||
           store_fail(failure, STORE_INVALID, "", "%s is true or false", name);
}

bool call_check_time(const char *value, const char *name, struct store_failure *failure)
{
    struct tm parsed = {0};
    const char *rest = value != NULL ? strptime(value, "%Y-%m-%dT%H:%M:%S", &parsed) : "Z";

    if (rest != NULL && *rest == '.')
        rest += 1 + strspn(rest + 1, "0123456789");
    return (rest != NULL &&
            (strcmp(rest, "Z") == 0 || ((*rest == '+' || *rest == '-') && strlen(rest) == 6 &&
                                        strspn(rest + 1, "0123456789:") == 5 && rest[3] == ':'))) ||
           store_fail(failure, STORE_INVALID, "",
                      "%s is a time such as 2026-01-31T00:00:00Z (encode a + as %%2B)", name);
}

/* RFC 3986 2.3: what is not unreserved is escaped. */
static void append_encoded(struct buffer *url, const char *text)
{
    for (; *text != '\0'; ++text) {
        unsigned char c = (unsigned char)*text;

        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c) != NULL)
            buffer_append(url, text, 1);
        else
            buffer_printf(url, "%%%02X", c);
    }
}

static void append_parameter(struct buffer *url, const char *prefix, const char *name,
                             const char *value)
{
    buffer_append_text(url, memchr(url->bytes, '?', url->size) != NULL ? "&" : "?");
    append_encoded(url, prefix);
    append_encoded(url, name);
    buffer_append_text(url, "=");
    append_encoded(url, value);
}

static void append_filters(struct buffer *url, const struct call *call)
{
    const char *const *names = call->operation->parameters;
    const char *name, *prefix = "";
    json_t *value;

    for (size_t i = 0; names != NULL && names[i] != NULL; ++i) {
        if (call->values[i] != NULL)
            append_parameter(url, "", names[i], call->values[i]);
        if (names[i][strlen(names[i]) - 1] == '.')
            prefix = names[i];
    }
    json_object_foreach(call->labels, name, value)
        append_parameter(url, prefix, name, json_string_value(value));
}

static void set_next(struct call *call, const char *after)
{
    struct buffer url = {0};
    char limit[INTEGER_LENGTH_MAX + 1] = "";

    integer_write(call->limit, limit);
    buffer_append(&url, call->path, strcspn(call->path, "?"));
    append_filters(&url, call);
    append_parameter(&url, "", "limit", limit);
    append_parameter(&url, "", "after", after);
    buffer_append(&url, "", 1);
    snprintf(call->next, sizeof(call->next), "%s", url.size <= sizeof(call->next) ? url.bytes : "");
    buffer_dispose(&url);
}

void call_answer_page(struct call *call, json_t *items, const char *after)
{
    call->answer = json_pack("{s:o, s:s?}", "items", items, "next", after);
    if (after != NULL && !call->is_stream)
        set_next(call, after);
}

void call_answer_object(struct call *call, json_t *object, const char *version)
{
    call->answer = object;
    if (version != NULL)
        snprintf(call->version, sizeof(call->version), "%s", version);
}

void call_set_location(struct call *call, const char *collection, const char *id)
{
    snprintf(call->location, sizeof(call->location), "/admin/v1/%s/%s", collection, id);
}
