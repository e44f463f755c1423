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
    FORM_BAD_ESCAPE, /* a % that two hex digits do not follow */
    FORM_NUL,        /* a NUL byte, literal or escaped, in a name or a value */
    FORM_DUPLICATE,  /* a name twice that may not repeat (RFC 6749 3.2) */
    FORM_TOO_MANY,   /* past the bound above */
};

/* In the order sent. */
struct form {
    struct {
        struct slice name, value;
    } parameters[FORM_MAX_PARAMETERS];
    size_t count;
};

/* Decodes `bytes` in place and fills `form`. `repeatable` are the names that may be sent more than
 * once, ended by NULL. After an error `form` and the bytes are unspecified. */
MUST_USE enum form_error form_parse(char *bytes, size_t length, const char *const *repeatable,
                                    struct form *form);

/* The value of the first parameter of that name. One that was not sent, or was sent without a
 * value, is empty (RFC 6749 3.2: both mean the same). */
struct slice form_get(const struct form *form, struct slice name);

/* Form-decodes `length` bytes in place (+ is a space, %XX a byte) and stores the new length.
 * FORM_OK, FORM_BAD_ESCAPE or FORM_NUL. Also what RFC 6749 2.3.1 asks for the halves of Basic. */
MUST_USE enum form_error form_decode(char *bytes, size_t length, size_t *decoded_length);

#endif
