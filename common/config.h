/* Configuration from environment variables, described by one typed table: name, kind, default,
 * bounds, help. The table fills a caller's struct, prints the effective values and suggests the
 * right name for a misspelt one.
 *
 * A field is `char *` for text (owned by the struct; NULL when empty without a default), `long
 * long` for numbers, and an enum for choices, whose values are their indexes.
 */
#ifndef COMMON_CONFIG_H
#define COMMON_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "common/attributes.h"
#include "common/failure.h"

enum config_kind {
    CONFIG_TEXT,
    CONFIG_NUMBER, /* a whole number from min to max, or the word `zero_word` for 0 */
    CONFIG_CHOICE, /* one of `choices` */
};

struct config_option {
    const char *name;
    enum config_kind kind;
    size_t offset;             /* of the field in the caller's struct */
    const char *default_value; /* as a user writes it; NULL: none */
    long long min, max;
    const char *zero_word;
    const char *const *choices; /* NULL-terminated */
    bool secret;                /* a URL whose password is masked when printed */
    /* Further check for text; false with what is wrong, or what to give, in words. Must not repeat
     * any part of a secret value. */
    bool (*check)(const char *value, struct failure *failure);
    const char *help; /* one line: what it means, with its unit */
};

/* Fills `fields` from the environment. An unset or empty variable takes the default. A bad value
 * fails with the variable, the value (unless secret) and the allowed form, in one line. `fields`
 * must be zeroed; dispose of it even after a failure. */
MUST_USE bool config_load(const struct config_option *options, size_t count, void *fields,
                          struct failure *failure);
void config_dispose(const struct config_option *options, size_t count, void *fields);

/* Prints one `NAME=value` per line, with passwords in URLs replaced by ****. */
void config_print(const struct config_option *options, size_t count, const void *fields, FILE *out);

/* Calls `on_unknown` for each environment variable that begins with `prefix` and is not in the
 * table, with the nearest name in it. Skips names for which `ignored` returns true. */
void config_find_unknown(const struct config_option *options, size_t count, const char *prefix,
                         bool (*ignored)(const char *name),
                         void (*on_unknown)(const char *name, const char *nearest));

/* Writes `url` with the password of its user part, and of a `password=` parameter, replaced by
 * ****. `size` counts the NUL. */
void config_mask_url(const char *url, char *masked, size_t size);

#endif
