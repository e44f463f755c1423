#include "auth/endpoint/admin/call_read.h"

#include <openssl/evp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/http/form.h"
#include "common/http/request.h"
#include "common/http/router.h"
#include "common/integer.h"

static bool complain(struct call_complaint *complaint, int status, const char *format, ...)
    PRINTF_LIKE(3, 4);

static bool complain(struct call_complaint *complaint, int status, const char *format, ...)
{
    va_list values;

    complaint->status = status;
    strcpy(complaint->pointer, "-");
    va_start(values, format);
    vsnprintf(complaint->detail, sizeof(complaint->detail), format, values);
    va_end(values);
    return false;
}

/* Path */

static struct slice raw_path(const h2o_req_t *req)
{
    struct slice path = {req->input.path.base, req->input.path.len};
    const char *query = memchr(path.bytes, '?', path.length);

    if (query != NULL)
        path.length = (size_t)(query - path.bytes);
    return path;
}

static bool is_plain_segment(struct slice segment)
{
    char *decoded = malloc(segment.length + 1);
    size_t length = 0;
    bool plain;

    if (decoded == NULL)
        return false;
    memcpy(decoded, segment.bytes, segment.length);
    plain = form_decode(decoded, segment.length, &length) == FORM_OK;
    decoded[plain ? length : 0] = '\0';
    plain = plain && memchr(decoded, '/', length) == NULL && strcmp(decoded, ".") != 0 &&
            strcmp(decoded, "..") != 0;
    free(decoded);
    return plain;
}

bool call_read_path_is_plain(const h2o_req_t *req)
{
    struct slice rest = raw_path(req);

    while (rest.length != 0) {
        const char *end = memchr(rest.bytes, '/', rest.length);
        size_t length = end != NULL ? (size_t)(end - rest.bytes) : rest.length;

        if (!is_plain_segment((struct slice){rest.bytes, length}))
            return false;
        length += end != NULL;
        rest = (struct slice){rest.bytes + length, rest.length - length};
    }
    return true;
}

static bool read_parts(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    for (size_t i = 0; i != ROUTE_PATH_PARTS_MAX; ++i) {
        struct slice part = router_part(req, i);

        if (part.length == 0)
            continue;
        if (part.length > CALL_PART_MAX || memchr(part.bytes, '\0', part.length) != NULL)
            return complain(complaint, 404, "There is nothing at this path.");
        memcpy(call->parts[i], part.bytes, part.length);
    }
    return true;
}

/* Query */

static bool is_prefix(const char *name)
{
    return *name != '\0' && name[strlen(name) - 1] == '.';
}

/* The index of the parameter in the list; -1 when it is not there. */
static int find_parameter(const char *const *names, struct slice given)
{
    for (int i = 0; names != NULL && names[i] != NULL; ++i) {
        struct slice name = slice_of(names[i]);

        if (slice_equal(name, given) || (is_prefix(names[i]) && given.length > name.length &&
                                         memcmp(name.bytes, given.bytes, name.length) == 0))
            return i;
    }
    return -1;
}

static bool take_label(struct call *call, struct slice name, const char *value,
                       struct call_complaint *complaint)
{
    json_t *text = json_string(value);

    if (call->labels == NULL)
        call->labels = json_object();
    if (text != NULL && json_object_setn_new(call->labels, name.bytes, name.length, text) == 0)
        return true;
    return complain(complaint, 400, "A parameter of the query is not UTF-8.");
}

static bool take_limit(struct call *call, const char *value, struct call_complaint *complaint)
{
    return integer_parse(value, 1, CALL_LIMIT_MAX, &call->limit) ||
           complain(complaint, 400, "limit is a whole number from 1 to %d.", CALL_LIMIT_MAX);
}

/* `value` ends with a NUL. */
static bool take_parameter(struct call *call, struct slice name, const char *value,
                           struct call_complaint *complaint)
{
    const char *const *names = call->operation->parameters;
    int i;

    if (call->operation->is_list && slice_equal(name, SLICE("limit")))
        return take_limit(call, value, complaint);
    if (call->operation->is_list && slice_equal(name, SLICE("after"))) {
        call->after = value;
        return true;
    }
    i = find_parameter(names, name);
    if (i == -1)
        return complain(complaint, 400,
                        "The query has a parameter that this path does not take%s; "
                        "/admin/openapi.json lists them.",
                        call->operation->is_list ? " beside limit, after and its filters" : "");
    if (is_prefix(names[i]))
        return take_label(
            call, (struct slice){name.bytes + strlen(names[i]), name.length - strlen(names[i])},
            value, complaint);
    call->values[i] = value;
    return true;
}

static bool read_query(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    struct slice query = {req->input.path.base + raw_path(req).length,
                          req->input.path.len - raw_path(req).length};
    static const char *const repeatable[] = {NULL};
    struct form form;

    if (query.length < 2)
        return true;
    if ((call->query = strndup(query.bytes + 1, query.length - 1)) == NULL)
        return complain(complaint, 503, "Out of memory; try again.");
    if (form_parse(call->query, query.length - 1, repeatable, &form) != FORM_OK)
        return complain(complaint, 400,
                        "The query has a parameter twice, more than %d of them, or a broken "
                        "percent escape.",
                        FORM_MAX_PARAMETERS);
    for (size_t i = 0; i != form.count; ++i) {
        struct slice value = form.parameters[i].value;

        if (value.length != 0)
            ((char *)value.bytes)[value.length] = '\0'; /* the separator, or the end, is there */
        if (!take_parameter(call, form.parameters[i].name, value.length != 0 ? value.bytes : "",
                            complaint))
            return false;
    }
    return true;
}

/* Conditions */

/* RFC 9110 8.8.3: a list of entity tags, or `*`. Writes those that are strong without their quotes,
 * separated by commas; weak ones too with `weak`. */
static bool read_tags(struct slice list, bool weak, char tags[CALL_VERSIONS_MAX + 1])
{
    size_t length = 0, at = 0;

    if (slice_equal(list, SLICE("*"))) {
        strcpy(tags, "*");
        return true;
    }
    while (at != list.length) {
        bool is_weak = list.length - at > 2 && memcmp(list.bytes + at, "W/", 2) == 0;
        const char *begin = list.bytes + at + (is_weak ? 2 : 0) + 1, *end;

        if (begin > list.bytes + list.length || begin[-1] != '"' ||
            (end = memchr(begin, '"', (size_t)(list.bytes + list.length - begin))) == NULL ||
            length + 1 + (size_t)(end - begin) > CALL_VERSIONS_MAX)
            return false;
        if (!is_weak || weak) {
            if (length != 0)
                tags[length++] = ',';
            memcpy(tags + length, begin, (size_t)(end - begin));
            length += (size_t)(end - begin);
        }
        at = (size_t)(end + 1 - list.bytes);
        while (at != list.length && strchr(" \t", list.bytes[at]) != NULL)
            ++at;
        if (at != list.length && list.bytes[at++] != ',')
            return false;
        while (at != list.length && strchr(" \t,", list.bytes[at]) != NULL)
            ++at;
    }
    tags[length] = '\0';
    return true;
}

static bool read_condition(h2o_req_t *req, const h2o_token_t *header, bool weak,
                           char tags[CALL_VERSIONS_MAX + 1], bool *given,
                           struct call_complaint *complaint)
{
    struct slice list;

    *given = h2o_find_header(&req->headers, header, -1) != -1;
    if (!*given)
        return true;
    return (request_single_header(req, header, &list) && list.length != 0 &&
            read_tags(list, weak, tags)) ||
           complain(complaint, 400,
                    "If-Match and If-None-Match take *, or entity tags in quotes, separated by "
                    "commas, once.");
}

static bool read_conditions(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    bool is_read = strcmp(call->operation->method, "GET") == 0, matches, is_new;

    if (!read_condition(req, H2O_TOKEN_IF_MATCH, false, call->versions, &matches, complaint) ||
        !read_condition(req, H2O_TOKEN_IF_NONE_MATCH, true, call->none_match, &is_new, complaint))
        return false;
    if (is_read)
        return !matches || complain(complaint, 400, "If-Match is for changes.");
    if ((matches || is_new) && !call->operation->has_version)
        return complain(complaint, 400,
                        "What this changes has no version: leave If-Match and "
                        "If-None-Match out.");
    if (is_new && (matches || strcmp(call->none_match, "*") != 0))
        return complain(complaint, 400,
                        "A change takes If-None-Match: * alone, to make something "
                        "new.");
    call->guard.versions = matches ? call->versions : NULL;
    call->guard.is_new = is_new;
    call->guard.needs_versions = call->operation->has_version;
    return true;
}

/* Body */

static bool read_json(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    json_error_t error;

    call->body = json_loadb(req->entity.base, req->entity.len, JSON_REJECT_DUPLICATES, &error);
    if (call->body != NULL)
        return true;
    complain(complaint, 400, "The body is not JSON: %s in line %d, column %d.",
             json_error_code(&error) == json_error_duplicate_key      ? "a member is there twice"
             : json_error_code(&error) == json_error_numeric_overflow ? "a number is out of range"
             : json_error_code(&error) == json_error_stack_overflow   ? "it is nested too deep"
             : json_error_code(&error) == json_error_invalid_utf8     ? "it is not UTF-8"
             : json_error_code(&error) == json_error_null_character   ? "it has \\u0000"
                                                                      : "there is a mistake",
             error.line, error.column);
    complaint->pointer[0] = '\0';
    return false;
}

static bool read_body(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    if (!call->operation->takes_body)
        return req->entity.len == 0 || complain(complaint, 400, "This request takes no body.");
    if (req->entity.len > ADMIN_BODY_MAX)
        return complain(complaint, 413, "The body is too large; 1 MiB is allowed.");
    if (!request_has_type(req, SLICE("application/json")) &&
        !request_has_type(req, SLICE("application/merge-patch+json")))
        return complain(complaint, 415, "Send a body of Content-Type: application/json.");
    return read_json(call, req, complaint);
}

/* Idempotency-Key */

static bool hash_request(struct call *call, h2o_req_t *req)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool done = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(context, call->path, strlen(call->path)) == 1 &&
                EVP_DigestUpdate(context, "\n", 1) == 1 &&
                EVP_DigestUpdate(context, req->entity.base, req->entity.len) == 1 &&
                EVP_DigestFinal_ex(context, call->digest, NULL) == 1;

    EVP_MD_CTX_free(context);
    return done;
}

static bool read_key(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    struct slice name = SLICE("idempotency-key"), key = request_header(req, name);
    ssize_t at = h2o_find_header_by_str(&req->headers, name.bytes, name.length, -1);

    if (at == -1 || !call->operation->is_repeatable)
        return true;
    if (h2o_find_header_by_str(&req->headers, name.bytes, name.length, at) != -1 ||
        key.length == 0 || key.length > CALL_KEY_MAX)
        return complain(complaint, 400, "Idempotency-Key is 1 to %d characters, once.",
                        CALL_KEY_MAX);
    for (size_t i = 0; i != key.length; ++i) {
        if (key.bytes[i] < ' ' || key.bytes[i] > '~')
            return complain(complaint, 400, "Idempotency-Key is printable ASCII.");
    }
    memcpy(call->key, key.bytes, key.length);
    call->key[key.length] = '\0';
    return hash_request(call, req) || complain(complaint, 503, "Out of memory; try again.");
}

/* Accept */

/* A list goes out whole, a line an item, if that is what the caller wants first. */
static bool wants_lines(h2o_req_t *req)
{
    static const char type[] = "application/x-ndjson";
    struct slice accept = request_header(req, SLICE("accept"));
    size_t length = strlen(type);

    return accept.length >= length && strncasecmp(accept.bytes, type, length) == 0 &&
           (accept.length == length || strchr("; ,", accept.bytes[length]) != NULL);
}

bool call_read(struct call *call, h2o_req_t *req, struct call_complaint *complaint)
{
    call->limit = 0;
    call->path = strndup(req->input.path.base, req->input.path.len);
    if (call->path == NULL)
        return complain(complaint, 503, "Out of memory; try again.");
    if (!read_parts(call, req, complaint) || !read_query(call, req, complaint) ||
        !read_conditions(call, req, complaint) || !read_body(call, req, complaint) ||
        !read_key(call, req, complaint))
        return false;
    call->is_stream = call->operation->is_list && call->limit == 0 && wants_lines(req);
    if (call->limit == 0)
        call->limit = call->is_stream ? CALL_LIMIT_MAX : CALL_LIMIT;
    return true;
}
