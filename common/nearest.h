/* Guesses which name a mistyped one was meant to be. */
#ifndef COMMON_NEAREST_H
#define COMMON_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Levenshtein distance between two names: characters to change, insert or remove. Only the first 63
 * bytes of each count. */
size_t nearest_distance(const char *a, const char *b);

/* The nearest of the known names that were tried; zero it to start. */
struct nearest {
    const char *name; /* NULL: none was tried */
    size_t distance;
};

/* True if `known` is nearer than all before. */
bool nearest_try(struct nearest *nearest, const char *typed, const char *known);

/* Whether it is close enough to ask "did you mean". */
bool nearest_is_near(const struct nearest *nearest);

#endif
