#include "auth/store/client_attributes.h"

#include <jansson.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/attributes.h"

#define LABEL_NAME_MAX  63
#define LABEL_VALUE_MAX 200
#define CLAIM_LEVELS    32 /* of arrays and objects within each other */

/* What labels and claims differ in. */
struct kind {
    const char *noun, *pointer, *value;
    bool (*check_name)(const char *name, struct store_failure *failure);
    bool (*check_value)(const char *name, const char *value, struct store_failure *failure);
};

/* Labels */

static bool check_label_name(const char *name, struct store_failure *failure)
{
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");

    return (length >= 1 && length <= LABEL_NAME_MAX && name[length] == '\0') ||
           store_fail(failure, STORE_INVALID, "/labels",
                      "the name of a label is 1 to %d characters of a-z 0-9 . _ -", LABEL_NAME_MAX);
}

static bool check_label_value(const char *name, const char *value, struct store_failure *failure)
{
    return store_check_text(value, 1, LABEL_VALUE_MAX) ||
           store_fail(failure, STORE_INVALID, "/labels",
                      "label %s: a value is 1 to %d characters of UTF-8 without control characters",
                      name, LABEL_VALUE_MAX);
}

static const struct kind label = {
    .noun = "label",
    .pointer = "/labels",
    .value = "VALUE",
    .check_name = check_label_name,
    .check_value = check_label_value,
};

/* Claims */

static bool check_claim_name(const char *name, struct store_failure *failure)
{
    static const char *const reserved[] = {"iss", "sub", "aud",       "exp",   "nbf", "iat",
                                           "jti", "cnf", "client_id", "scope", "act"};

    if (!store_check_text(name, 1, SIZE_MAX))
        return store_fail(failure, STORE_INVALID, "/claims",
                          "the name of a claim is UTF-8 without control characters, and not empty");
    for (size_t i = 0; i != COUNT_OF(reserved); ++i) {
        if (strcmp(name, reserved[i]) == 0)
            return store_fail(failure, STORE_INVALID, "/claims",
                              "the claim %s is set by the server, as are iss, sub, aud, exp, nbf, "
                              "iat, jti, client_id, scope, cnf and act",
                              name);
    }
    return true;
}

enum fault { FAULT_NONE, FAULT_LEVELS, FAULT_NUMBER };

/* PostgreSQL writes 1e19 as an integer, which has more than 64 bits then. */
static enum fault find_fault(json_t *value, unsigned levels)
{
    enum fault fault = FAULT_NONE;
    const char *name;
    json_t *member;
    size_t index;

    if (json_is_real(value) && fabs(json_real_value(value)) >= 0x1p63)
        return FAULT_NUMBER;
    if ((json_is_object(value) || json_is_array(value)) && levels == 0)
        return FAULT_LEVELS;
    json_object_foreach(value, name, member)
    {
        if (fault == FAULT_NONE)
            fault = find_fault(member, levels - 1);
    }
    json_array_foreach(value, index, member)
    {
        if (fault == FAULT_NONE)
            fault = find_fault(member, levels - 1);
    }
    return fault;
}

static bool refuse_levels(const char *name, struct store_failure *failure)
{
    return store_fail(failure, STORE_INVALID, "/claims",
                      "claim %.64s: its value has arrays and objects more than %d deep", name,
                      CLAIM_LEVELS);
}

static bool refuse_number(const char *name, struct store_failure *failure)
{
    return store_fail(
        failure, STORE_INVALID, "/claims",
        "claim %.64s: a number is out of range; integers have at most 64 bits, and no "
        "number is larger",
        name);
}

static bool refuse_json(const char *name, const json_error_t *error, struct store_failure *failure)
{
    switch (json_error_code(error)) {
    case json_error_numeric_overflow:
        return refuse_number(name, failure);
    case json_error_duplicate_key:
        return store_fail(failure, STORE_INVALID, "/claims",
                          "claim %.64s: an object in its value has a name twice", name);
    case json_error_stack_overflow:
        return refuse_levels(name, failure);
    case json_error_null_character:
        return store_fail(failure, STORE_INVALID, "/claims",
                          "claim %.64s: PostgreSQL cannot store the character \\u0000", name);
    default:
        return store_fail(failure, STORE_INVALID, "/claims",
                          "claim %.64s: its value is not JSON; a string needs its quotes, in a "
                          "shell: %.64s='\"gold\"'",
                          name, name);
    }
}

static bool check_claim_value(const char *name, const char *text, struct store_failure *failure)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    enum fault fault = find_fault(value, CLAIM_LEVELS);

    json_decref(value);
    if (value == NULL)
        return refuse_json(name, &error, failure);
    if (fault == FAULT_NUMBER)
        return refuse_number(name, failure);
    return fault == FAULT_NONE || refuse_levels(name, failure);
}

static const struct kind claim = {
    .noun = "claim",
    .pointer = "/claims",
    .value = "JSON",
    .check_name = check_claim_name,
    .check_value = check_claim_value,
};

/* Both */

static bool put(json_t *object, const struct kind *kind, const char *name, const char *value,
                struct store_failure *failure)
{
    if (!kind->check_name(name, failure) ||
        (*value != '\0' && !kind->check_value(name, value, failure)))
        return false;
    if (json_object_get(object, name) != NULL)
        return store_fail(failure, STORE_INVALID, kind->pointer, "%s %.64s is given twice",
                          kind->noun, name);
    return json_object_set_new(object, name, *value != '\0' ? json_string(value) : json_null()) ==
               0 ||
           store_fail(failure, STORE_UNAVAILABLE, "", "out of memory");
}

static bool put_text(json_t *object, const struct kind *kind, const char *text,
                     struct store_failure *failure)
{
    size_t length = strcspn(text, "=");
    char *name;
    bool done;

    if (text[length] == '\0')
        return store_fail(failure, STORE_INVALID, kind->pointer,
                          "a %s is given as NAME=%s; NAME= removes it", kind->noun, kind->value);
    name = strndup(text, length);
    done = name != NULL ? put(object, kind, name, text + length + 1, failure)
                        : store_fail(failure, STORE_UNAVAILABLE, "", "out of memory");
    free(name);
    return done;
}

/* Takes over `object`, and writes it if it is `done` and not empty. */
static bool write_object(json_t *object, bool done, char **text, struct store_failure *failure)
{
    *text = NULL;
    if (done && json_object_size(object) != 0 && (*text = json_dumps(object, JSON_COMPACT)) == NULL)
        done = store_fail(failure, STORE_UNAVAILABLE, "", "out of memory");
    json_decref(object);
    return done;
}

static bool make_object(const struct kind *kind, const char *const *texts, size_t count,
                        char **object_text, struct store_failure *failure)
{
    json_t *object = json_object();
    bool done = true;

    for (size_t i = 0; done && i != count; ++i)
        done = put_text(object, kind, texts[i], failure);
    return write_object(object, done, object_text, failure);
}

/* Points to the member at fault (RFC 6901). */
static bool put_member(json_t *object, const struct kind *kind, const char *name, const char *value,
                       struct store_failure *failure)
{
    if (*value == '\0')
        store_fail(failure, STORE_INVALID, kind->pointer, "%s %.64s is empty", kind->noun, name);
    else if (put(object, kind, name, value, failure))
        return true;
    if (failure->kind == STORE_INVALID)
        store_point_to(failure, kind->pointer + 1, name);
    return false;
}

bool client_attributes_label_object(const json_t *labels, char **object,
                                    struct store_failure *failure)
{
    json_t *made = json_object(), *value;
    const char *name;
    bool done = true;

    json_object_foreach((json_t *)labels, name, value)
    {
        if (!done)
            break;
        done = put_member(made, &label, name, json_is_string(value) ? json_string_value(value) : "",
                          failure);
    }
    return write_object(made, done, object, failure);
}

bool client_attributes_claim_object(const json_t *claims, char **object,
                                    struct store_failure *failure)
{
    json_t *made = json_object(), *value;
    const char *name;
    bool done = true;

    json_object_foreach((json_t *)claims, name, value)
    {
        char *text = done ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;

        done = done &&
               (text != NULL || store_fail(failure, STORE_UNAVAILABLE, "", "out of memory")) &&
               put_member(made, &claim, name, text, failure);
        free(text);
    }
    return write_object(made, done, object, failure);
}

bool client_attributes_labels(const char *const *labels, size_t count, char **object,
                              struct store_failure *failure)
{
    return make_object(&label, labels, count, object, failure);
}

bool client_attributes_claims(const char *const *claims, size_t count, char **object,
                              struct store_failure *failure)
{
    return make_object(&claim, claims, count, object, failure);
}
