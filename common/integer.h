/* Whole numbers as decimal text. */
#ifndef COMMON_INTEGER_H
#define COMMON_INTEGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/attributes.h"

#define INTEGER_LENGTH_MAX 20 /* -9223372036854775808 */

/* Writes the number, without a NUL, and returns its length. Much cheaper than printf. */
size_t integer_write(int64_t number, char *text);

/* Accepts a number from `min` to `max` and nothing else: no blanks, no plus sign. */
MUST_USE bool integer_parse(const char *text, long long min, long long max, long long *number);

#endif
