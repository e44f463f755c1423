/* Checks the framing of an HTTP/1 request in its raw head. h2o accepts what RFC 9112 forbids, so a
 * proxy in front of it may see different requests in the same bytes (request smuggling).
 */
#ifndef COMMON_HTTP_HTTP_HEAD_H
#define COMMON_HTTP_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_HEAD_MAX 16384 /* bytes */

/* Returns why the framing of the request at `bytes` is refused, as a sentence for the client, or
 * NULL when it is sound; then `chunked` says whether its body is chunked. The head must be
 * complete; anything after it is ignored. Header names may be in any case. */
const char *http_head_complaint(const char *bytes, size_t length, bool *chunked);

/* The length of the head of the request at `bytes`; 0 when it is incomplete or longer than
 * HTTP_HEAD_MAX. */
size_t http_head_length(const char *bytes, size_t length);

#endif
