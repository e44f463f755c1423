#include "common/yaml.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

/* A document, and which of its nodes have been read: an alias reaches a node a second time. */
struct reading {
    yaml_document_t document;
    bool *seen;
    struct failure *failure;
};

static json_t *read_node(struct reading *reading, int id, int depth);

static json_t *refuse(struct reading *reading, const yaml_node_t *node, const char *reason)
{
    failure_set(reading->failure, "line %zu: %s", node->start_mark.line + 1, reason);
    return NULL;
}

static bool is_word(const char *text, const char *const *words)
{
    for (; *words != NULL; ++words) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_number(const char *text, bool *is_whole)
{
    const char *c = text + (*text == '-' || *text == '+');
    size_t before = strspn(c, "0123456789"), after = 0;

    c += before;
    *is_whole = *c == '\0';
    if (*c == '.') {
        after = strspn(++c, "0123456789");
        c += after;
    }
    if (before + after == 0)
        return false;
    if (*c == 'e' || *c == 'E') {
        c += 1 + (c[1] == '-' || c[1] == '+');
        if (strspn(c, "0123456789") == 0)
            return false;
        c += strspn(c, "0123456789");
    }
    return *c == '\0';
}

static json_t *read_number(struct reading *reading, const yaml_node_t *node, bool is_whole)
{
    const char *text = (const char *)node->data.scalar.value;
    long long whole;
    double real;

    errno = 0;
    if (is_whole) {
        whole = strtoll(text, NULL, 10);
        return errno == 0 ? json_integer(whole) : refuse(reading, node, "the number is too large");
    }
    real = strtod(text, NULL);
    return isfinite(real) ? json_real(real) : refuse(reading, node, "the number is too large");
}

static json_t *read_scalar(struct reading *reading, const yaml_node_t *node)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    const char *text = (const char *)node->data.scalar.value;
    size_t length = node->data.scalar.length;
    bool is_whole;
    json_t *value;

    if (node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (is_word(text, nulls))
            return json_null();
        if (is_word(text, trues))
            return json_true();
        if (is_word(text, falses))
            return json_false();
        if (is_number(text, &is_whole))
            return read_number(reading, node, is_whole);
    }
    value = memchr(text, '\0', length) == NULL ? json_stringn(text, length) : NULL;
    return value != NULL ? value : refuse(reading, node, "a NUL in a scalar");
}

static json_t *read_sequence(struct reading *reading, const yaml_node_t *node, int depth)
{
    json_t *array = json_array();

    for (const int *item = node->data.sequence.items.start; item != node->data.sequence.items.top;
         ++item) {
        if (json_array_append_new(array, read_node(reading, *item, depth)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static bool read_member(struct reading *reading, json_t *object, const yaml_node_pair_t *pair,
                        int depth)
{
    const yaml_node_t *key = yaml_document_get_node(&reading->document, pair->key);
    const char *name = (const char *)key->data.scalar.value;

    if (key->type != YAML_SCALAR_NODE || reading->seen[pair->key - 1])
        return refuse(reading, key, "a key must be a text"), false;
    reading->seen[pair->key - 1] = true;
    if (memchr(name, '\0', key->data.scalar.length) != NULL)
        return refuse(reading, key, "a NUL in a key"), false;
    if (json_object_get(object, name) != NULL)
        return refuse(reading, key, "a key stands twice"), false;
    return json_object_set_new(object, name, read_node(reading, pair->value, depth)) == 0;
}

static json_t *read_mapping(struct reading *reading, const yaml_node_t *node, int depth)
{
    json_t *object = json_object();

    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair != node->data.mapping.pairs.top; ++pair) {
        if (!read_member(reading, object, pair, depth)) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

/* Ids start at 1. libyaml gives an untagged node the default tag of its kind. */
static json_t *read_node(struct reading *reading, int id, int depth)
{
    static const char *const tags[] = {YAML_STR_TAG, YAML_SEQ_TAG, YAML_MAP_TAG, NULL};
    const yaml_node_t *node = yaml_document_get_node(&reading->document, id);

    if (reading->seen[id - 1])
        return refuse(reading, node, "an alias (*) leads here; write it out instead");
    reading->seen[id - 1] = true;
    if (depth == YAML_DEPTH_MAX)
        return refuse(reading, node, "nested too deeply");
    if (!is_word((const char *)node->tag, tags))
        return refuse(reading, node, "tags (!) are not taken");
    switch (node->type) {
    case YAML_SCALAR_NODE:
        return read_scalar(reading, node);
    case YAML_SEQUENCE_NODE:
        return read_sequence(reading, node, depth + 1);
    default:
        return read_mapping(reading, node, depth + 1);
    }
}

static json_t *read_document(struct reading *reading)
{
    const yaml_node_t *root = yaml_document_get_root_node(&reading->document);
    size_t count = (size_t)(reading->document.nodes.top - reading->document.nodes.start);
    json_t *value;

    if (root == NULL) {
        failure_set(reading->failure, "there is nothing in it");
        return NULL;
    }
    if ((reading->seen = calloc(count, sizeof(*reading->seen))) == NULL) {
        failure_set(reading->failure, "out of memory");
        return NULL;
    }
    value = read_node(reading, 1, 0);
    free(reading->seen);
    return value;
}

static bool is_at_end(yaml_parser_t *parser, struct failure *failure)
{
    yaml_document_t next;
    bool is_last;

    if (!yaml_parser_load(parser, &next))
        return failure_set(failure, "line %zu: %s", parser->problem_mark.line + 1, parser->problem);
    is_last = yaml_document_get_root_node(&next) == NULL;
    yaml_document_delete(&next);
    return is_last || failure_set(failure, "there is more than one document in it");
}

json_t *yaml_parse(struct slice text, struct failure *failure)
{
    struct reading reading = {.failure = failure};
    json_t *value = NULL;
    yaml_parser_t parser;

    if (!yaml_parser_initialize(&parser)) {
        failure_set(failure, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.bytes, text.length);
    if (yaml_parser_load(&parser, &reading.document)) {
        value = read_document(&reading);
        yaml_document_delete(&reading.document);
        if (value != NULL && !is_at_end(&parser, failure)) {
            json_decref(value);
            value = NULL;
        }
    } else {
        failure_set(failure, "line %zu: %s", parser.problem_mark.line + 1,
                    parser.problem != NULL ? parser.problem : "out of memory");
    }
    yaml_parser_delete(&parser);
    return value;
}
