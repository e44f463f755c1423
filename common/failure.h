/* Why something failed, in words for a person: what is wrong and what to do about it.
 *
 * A function whose failures a person must understand takes a `struct failure *` and returns false
 * (or NULL) after filling it; on success it leaves it alone. Never holds a secret.
 */
#ifndef COMMON_FAILURE_H
#define COMMON_FAILURE_H

#include <stdbool.h>

#include "common/attributes.h"

struct failure {
    char reason[512];
};

/* Fills `failure` and returns false, so that a caller can write `return failure_set(failure, …)`.
 */
bool failure_set(struct failure *failure, const char *format, ...) PRINTF_LIKE(2, 3);

/* Turns a message from elsewhere, such as libpq, into one line. */
void failure_one_line(struct failure *failure);

#endif
