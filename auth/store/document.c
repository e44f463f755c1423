#include "auth/store/document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_one_of(const char *name, const char *const *names)
{
    while (*names != NULL && strcmp(name, *names) != 0)
        ++names;
    return *names != NULL;
}

/* Says that the member is wrong, and why. */
static bool refuse(struct store_failure *failure, const char *name, const char *reason)
{
    store_fail(failure, STORE_INVALID, "", "%.64s %s", name, reason);
    store_point_to(failure, "", name);
    return false;
}

/* NULL also if it is null. */
static json_t *member(const json_t *document, const char *name)
{
    json_t *value = json_object_get(document, name);

    return json_is_null(value) ? NULL : value;
}

bool document_check(const json_t *document, const char *const *names, struct store_failure *failure)
{
    const char *name;
    json_t *value;

    if (!json_is_object(document))
        return store_fail(failure, STORE_INVALID, "", "a JSON object is wanted");
    json_object_foreach((json_t *)document, name, value)
    {
        if (is_one_of(name, names))
            continue;
        store_fail(failure, STORE_INVALID, "", "there is no such member");
        store_point_to(failure, "", name);
        return false;
    }
    return true;
}

bool document_text(const json_t *document, const char *name, const char **text,
                   struct store_failure *failure)
{
    const json_t *value = member(document, name);

    if (value == NULL)
        return true;
    if (!json_is_string(value))
        return refuse(failure, name, "is a string");
    *text = json_string_value(value);
    return true;
}

bool document_boolean(const json_t *document, const char *name, bool *boolean,
                      struct store_failure *failure)
{
    const json_t *value = member(document, name);

    if (value == NULL)
        return true;
    if (!json_is_boolean(value))
        return refuse(failure, name, "is true or false");
    *boolean = json_boolean_value(value);
    return true;
}

bool document_integer(const json_t *document, const char *name, long long *integer,
                      struct store_failure *failure)
{
    const json_t *value = member(document, name);

    if (value == NULL)
        return true;
    if (!json_is_integer(value))
        return refuse(failure, name, "is a whole number");
    *integer = json_integer_value(value);
    return true;
}

bool document_object(const json_t *document, const char *name, const json_t **object,
                     struct store_failure *failure)
{
    const json_t *value = member(document, name);

    if (value == NULL)
        return true;
    if (!json_is_object(value))
        return refuse(failure, name, "is an object");
    *object = value;
    return true;
}

static bool refuse_item(struct store_failure *failure, const char *name, size_t index)
{
    char item[24];

    snprintf(item, sizeof(item), "%zu", index);
    store_fail(failure, STORE_INVALID, "", "%.64s is an array of strings, none of them empty",
               name);
    store_point_to(failure, name, item);
    return false;
}

bool document_list(const json_t *document, const char *name, const char **items, size_t max,
                   size_t *count, struct store_failure *failure)
{
    const json_t *value = member(document, name);
    json_t *item;
    size_t index;

    if (value == NULL)
        return true;
    if (!json_is_array(value))
        return refuse(failure, name, "is an array of strings");
    if (json_array_size(value) > max) {
        store_fail(failure, STORE_INVALID, "", "%.64s has at most %zu items", name, max);
        store_point_to(failure, "", name);
        return false;
    }
    json_array_foreach(value, index, item)
    {
        if (!json_is_string(item) || *json_string_value(item) == '\0')
            return refuse_item(failure, name, index);
        items[index] = json_string_value(item);
    }
    *count = json_array_size(value);
    return true;
}

json_t *document_merge(const json_t *document, const json_t *patch)
{
    json_t *merged, *value;
    const char *name;

    if (!json_is_object(patch))
        return json_deep_copy(patch);
    merged = json_is_object(document) ? json_copy((json_t *)document) : json_object();
    json_object_foreach((json_t *)patch, name, value)
    {
        if (json_is_null(value))
            json_object_del(merged, name);
        else if (json_object_set_new(merged, name,
                                     document_merge(json_object_get(merged, name), value)) != 0) {
            json_decref(merged);
            return NULL;
        }
    }
    return merged;
}

json_t *document_number(const char *number)
{
    return number != NULL ? json_integer(strtoll(number, NULL, 10)) : json_null();
}

json_t *document_words(const char *words)
{
    json_t *items = json_array();

    while (*words != '\0') {
        size_t length = strcspn(words, " ");

        json_array_append_new(items, json_stringn(words, length));
        words += length + (words[length] == ' ');
    }
    return items;
}
