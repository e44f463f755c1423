/* Which name a mistyped one may have been meant to be. */
#ifndef COMMON_NEAREST_H
#define COMMON_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

/* Changes, insertions and removals of a character that make one name of the other (Levenshtein). Of
 * each name 63 bytes count. */
size_t nearest_distance(const char *a, const char *b);

/* Whether that is little enough to ask: did you mean it? */
bool nearest_is_near(const char *typed, const char *known);

#endif
