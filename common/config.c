#include "common/config.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/integer.h"
#include "common/nearest.h"

extern char **environ;

static char **text_field(const struct config_option *option, void *fields)
{
    return (char **)((char *)fields + option->offset);
}

static long long *number_field(const struct config_option *option, void *fields)
{
    return (long long *)((char *)fields + option->offset);
}

static unsigned *choice_field(const struct config_option *option, void *fields)
{
    enum any { ANY };

    _Static_assert(sizeof(enum any) == sizeof(unsigned), "an enum has this size");
    return (unsigned *)((char *)fields + option->offset);
}

static bool load_number(const struct config_option *option, const char *value, long long *number,
                        struct failure *failure)
{
    if (option->zero_word != NULL && strcmp(value, option->zero_word) == 0) {
        *number = 0;
        return true;
    }
    if (!integer_parse(value, option->min, option->max, number)) {
        return failure_set(failure, "%s=%.100s: give a whole number from %lld to %lld%s%s",
                           option->name, value, option->min, option->max,
                           option->zero_word != NULL ? ", or " : "",
                           option->zero_word != NULL ? option->zero_word : "");
    }
    return true;
}

static bool load_choice(const struct config_option *option, const char *value, unsigned *index,
                        struct failure *failure)
{
    char allowed[200] = "";

    for (*index = 0; option->choices[*index] != NULL; ++*index) {
        if (strcmp(value, option->choices[*index]) == 0)
            return true;
        if (*index != 0)
            strncat(allowed, ", ", sizeof(allowed) - strlen(allowed) - 1);
        strncat(allowed, option->choices[*index], sizeof(allowed) - strlen(allowed) - 1);
    }
    return failure_set(failure, "%s=%.100s: give one of %s", option->name, value, allowed);
}

/* A value read from a file ends with a newline that few tools strip. */
static bool check_text(const struct config_option *option, const char *value,
                       struct failure *failure)
{
    size_t length = strlen(value);

    if (isspace((unsigned char)value[0]) || isspace((unsigned char)value[length - 1]))
        return failure_set(failure, "there is white space around it (the line end of a file?): "
                                    "remove it");
    return option->check == NULL || option->check(value, failure);
}

static bool load_text(const struct config_option *option, const char *value, char **text,
                      struct failure *failure)
{
    struct failure wrong;

    if (!check_text(option, value, &wrong)) /* a secret may be anywhere in it */
        return failure_set(failure, "%s=%.200s: %s", option->name, option->secret ? "****" : value,
                           wrong.reason);
    if ((*text = strdup(value)) == NULL)
        return failure_set(failure, "out of memory");
    return true;
}

bool config_load(const struct config_option *options, size_t count, void *fields,
                 struct failure *failure)
{
    for (size_t i = 0; i != count; ++i) {
        const struct config_option *option = options + i;
        const char *value = getenv(option->name);
        bool loaded = true;

        if (value == NULL || *value == '\0')
            value = option->default_value;
        if (value == NULL)
            continue;
        switch (option->kind) {
        case CONFIG_TEXT:
            loaded = load_text(option, value, text_field(option, fields), failure);
            break;
        case CONFIG_NUMBER:
            loaded = load_number(option, value, number_field(option, fields), failure);
            break;
        case CONFIG_CHOICE:
            loaded = load_choice(option, value, choice_field(option, fields), failure);
            break;
        }
        if (!loaded) {
            failure_one_line(failure);
            return false;
        }
    }
    return true;
}

void config_dispose(const struct config_option *options, size_t count, void *fields)
{
    for (size_t i = 0; i != count; ++i) {
        if (options[i].kind == CONFIG_TEXT) {
            free(*text_field(options + i, fields));
            *text_field(options + i, fields) = NULL;
        }
    }
}

void config_print(const struct config_option *options, size_t count, const void *fields, FILE *out)
{
    for (size_t i = 0; i != count; ++i) {
        const struct config_option *option = options + i;

        if (option->kind == CONFIG_TEXT) {
            const char *text = *text_field(option, (void *)fields);
            char masked[2048] = "";

            if (text != NULL && option->secret)
                config_mask_url(text, masked, sizeof(masked));
            fprintf(out, "%s=%s\n", option->name,
                    option->secret ? masked : (text != NULL ? text : ""));
        } else if (option->kind == CONFIG_CHOICE) {
            fprintf(out, "%s=%s\n", option->name,
                    option->choices[*choice_field(option, (void *)fields)]);
        } else {
            fprintf(out, "%s=%lld\n", option->name, *number_field(option, (void *)fields));
        }
    }
}

void config_find_unknown(const struct config_option *options, size_t count, const char *prefix,
                         bool (*ignored)(const char *name),
                         void (*on_unknown)(const char *name, const char *nearest))
{
    for (char **variable = environ; *variable != NULL; ++variable) {
        const char *equals = strchr(*variable, '=');
        char name[64];
        struct nearest nearest = {0};
        size_t i;

        if (equals == NULL || strncmp(*variable, prefix, strlen(prefix)) != 0)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(equals - *variable), *variable);
        for (i = 0; i != count && strcmp(options[i].name, name) != 0; ++i)
            nearest_try(&nearest, name, options[i].name);
        if (i == count && !ignored(name))
            on_unknown(name, nearest.name);
    }
}

void config_mask_url(const char *url, char *masked, size_t size)
{
    const char *authority = strstr(url, "://");
    const char *user = authority != NULL ? authority + 3 : url;
    const char *at = strrchr(user, '@'), *colon, *parameter;

    /* The password runs from the first colon to the last @: it may contain either, and anything
     * else a URL must escape. */
    colon = at != NULL ? memchr(user, ':', (size_t)(at - user)) : NULL;
    if (colon != NULL)
        snprintf(masked, size, "%.*s****%s", (int)(colon + 1 - url), url, at);
    else
        snprintf(masked, size, "%s", url);

    for (parameter = masked; (parameter = strstr(parameter, "password=")) != NULL;) {
        char rest[2048], *value = (char *)parameter + strlen("password=");

        snprintf(rest, sizeof(rest), "%s", value + strcspn(value, "&"));
        snprintf(value, size - (size_t)(value - masked), "****%s", rest);
        parameter = value;
    }
}
