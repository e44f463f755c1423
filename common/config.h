/* Configuration from environment variables, described by one typed table: name, kind, default,
 * bounds, help. The table fills a struct of the caller's, prints the effective values and knows
 * which name a misspelt one was meant to be.
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
    const char *default_value; /* as one would write it; NULL: none */
    long long min, max;
    const char *zero_word;
    const char *const *choices; /* ended by NULL */
    bool secret;                /* a URL whose password is masked when printed */
    /* More checks for text; false with what is wrong, or what to give, in words. Of a secret value
     * it repeats nothing that may be a part of the secret. */
    bool (*check)(const char *value, struct failure *failure);
    const char *help; /* one line: what it means, with its unit */
};

/* Fills `fields` from the environment. An unset or empty variable takes the default. A bad value
 * fails with the variable, the value (not a secret one) and the allowed form, in one line. `fields`
 * must be zeroed, and is to be disposed of also after a failure. */
MUST_USE bool config_load(const struct config_option *options, size_t count, void *fields,
                          struct failure *failure);
void config_dispose(const struct config_option *options, size_t count, void *fields);

/* One `NAME=value` a line, passwords in URLs replaced by ****. */
void config_print(const struct config_option *options, size_t count, const void *fields, FILE *out);

/* Calls `on_unknown` for each variable of the environment that begins with `prefix` and is not in
 * the table, with the nearest name that is. Names for which `ignored` is true are passed over. */
void config_find_unknown(const struct config_option *options, size_t count, const char *prefix,
                         bool (*ignored)(const char *name),
                         void (*on_unknown)(const char *name, const char *nearest));

/* Writes `url` with the password of its user part, and of a `password=` parameter, replaced by
 * ****. `size` counts the NUL. */
void config_mask_url(const char *url, char *masked, size_t size);

#endif
