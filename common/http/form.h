/* Parameters of an application/x-www-form-urlencoded request body (RFC 6749 appendix B).
 *
 * Pure: no allocation, no I/O. Values are decoded in place, so the views point into the caller's
 * bytes and live as long as they do.
 */
#ifndef COMMON_HTTP_FORM_H
#define COMMON_HTTP_FORM_H

#include "common/attributes.h"
#include "common/slice.h"

#define FORM_MAX_PARAMETERS 64 /* in one body */

enum form_error {
    FORM_OK,
    FORM_BAD_ESCAPE, /* a % without two hex digits after it */
    FORM_NUL,        /* a NUL byte, literal or escaped, in a name or a value */
    FORM_DUPLICATE,  /* a repeated name that must not repeat (RFC 6749 3.2) */
    FORM_TOO_MANY,   /* more than FORM_MAX_PARAMETERS */
};

/* In the order sent. */
struct form {
    struct {
        struct slice name, value;
    } parameters[FORM_MAX_PARAMETERS];
    size_t count;
};

/* Decodes `bytes` in place and fills `form`. `repeatable` lists the names that may occur more than
 * once, NULL-terminated. After an error `form` and the bytes are unspecified. */
MUST_USE enum form_error form_parse(char *bytes, size_t length, const char *const *repeatable,
                                    struct form *form);

/* The value of the first parameter of that name; empty when it was not sent, or sent without a
 * value (RFC 6749 3.2: both mean the same). */
struct slice form_get(const struct form *form, struct slice name);

/* Form-decodes `length` bytes in place (+ is a space, %XX a byte) and stores the new length.
 * FORM_OK, FORM_BAD_ESCAPE or FORM_NUL. RFC 6749 2.3.1 requires it for both halves of Basic too. */
MUST_USE enum form_error form_decode(char *bytes, size_t length, size_t *decoded_length);

#endif
