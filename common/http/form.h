/* Parameters of an application/x-www-form-urlencoded request body (RFC 6749 appendix B).
 *
 * Pure: no allocation, no I/O. Values are decoded in place, so the views point into the caller's
 * bytes and live as long as they do.
 */
#ifndef COMMON_HTTP_FORM_H
#define COMMON_HTTP_FORM_H

#include "common/attributes.h"
#include "common/slice.h"

#define FORM_MAX_PARAMETERS 64 /* of any name, in one body */
#define FORM_MAX_RESOURCES  16 /* `resource` may repeat (RFC 8707 2), and `audience` likewise */

enum form_error {
    FORM_OK,
    FORM_BAD_ESCAPE, /* a % that two hex digits do not follow */
    FORM_NUL,        /* a NUL byte, literal or escaped, in a name or a value */
    FORM_DUPLICATE,  /* another name twice, known or not (RFC 6749 3.2) */
    FORM_TOO_MANY,   /* past one of the bounds above */
};

/* A parameter that was not sent, or was sent without a value, has length 0 (RFC 6749 3.2: both
 * mean the same). Unknown parameters are checked like the others, then ignored. */
struct form {
    struct slice grant_type;
    struct slice scope;
    struct slice client_id;
    struct slice client_secret;
    /* By both names, in the order sent, without empty ones. */
    struct slice resources[FORM_MAX_RESOURCES];
    size_t resource_count;
};

/* Decodes `bytes` in place and fills `form`. After an error `form` and the bytes are unspecified.
 */
MUST_USE enum form_error form_parse(char *bytes, size_t length, struct form *form);

/* Form-decodes `length` bytes in place (+ is a space, %XX a byte) and stores the new length.
 * FORM_OK, FORM_BAD_ESCAPE or FORM_NUL. Also what RFC 6749 2.3.1 asks for the halves of Basic. */
MUST_USE enum form_error form_decode(char *bytes, size_t length, size_t *decoded_length);

#endif
