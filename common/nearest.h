/* Guesses which name a mistyped one was meant to be. */
#ifndef COMMON_NEAREST_H
#define COMMON_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Levenshtein distance between two names: characters to change, insert or remove. Only the first 63
 * bytes of each count. */
size_t nearest_distance(const char *a, const char *b);

/* Whether they are close enough to ask "did you mean". */
bool nearest_is_near(const char *typed, const char *known);

#endif
