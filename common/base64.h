/* Base64 (RFC 4648) in the two forms that tokens and HTTP use. */
#ifndef COMMON_BASE64_H
#define COMMON_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/buffer.h"
#include "common/slice.h"

/* Room for the base64url text of `length` bytes and a NUL. */
#define BASE64_URL_SIZE(length) ((length)*4 / 3 + 4)

/* RFC 7515 2: base64url without padding, and a NUL. `text` has room for BASE64_URL_SIZE(length).
 * Returns the length of the text. */
size_t base64_url_encode(const void *bytes, size_t length, char *text);
void base64_url_append(struct buffer *out, const void *bytes, size_t length);

/* The reverse: false for padding and any other character. `bytes` has room for text.length + 3. */
MUST_USE bool base64_url_decode(struct slice text, char *bytes, size_t *length);

/* Standard base64 with padding, and no other characters. `bytes` has room for text.length. */
MUST_USE bool base64_decode(struct slice text, char *bytes, size_t *length);

#endif
