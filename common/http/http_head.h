/* The framing of an HTTP/1 request, read from its raw head. h2o takes what RFC 9112 refuses, and
 * another reader in front of it may then see other requests in the same bytes (request smuggling).
 */
#ifndef COMMON_HTTP_HTTP_HEAD_H
#define COMMON_HTTP_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 16384 /* bytes */

/* Why the framing of the request at `bytes` is refused, as a sentence for the client; NULL when it
 * is sound: then `chunked` says whether its body comes in chunks. The head must be whole; what
 * follows it is not looked at. Names may be in any case. */
const char *http_head_complaint(const char *bytes, size_t length, bool *chunked);

/* The length of the head of the request at `bytes`; 0 when it does not end there, or is longer than
 * HTTP_HEAD_MAX. */
size_t http_head_length(const char *bytes, size_t length);

#endif
