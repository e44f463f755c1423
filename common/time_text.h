/* Times as text, in UTC. */
#ifndef COMMON_TIME_TEXT_H
#define COMMON_TIME_TEXT_H

#include <stdint.h>

#define TIME_TEXT_LENGTH 23 /* 2026-11-21T07:12:16.123 */
#define TIME_TEXT_SIZE   21 /* 2026-11-21T07:12:16Z and a NUL */

/* Writes TIME_TEXT_LENGTH characters, with `separator` between date and time, and no NUL. For years
 * 1970 to 9999. Takes a lock only once per day and thread. */
void time_text_write(int64_t unix_ms, char separator, char *text);

/* RFC 3339 in whole seconds. Returns `text`. */
const char *time_text_format(int64_t unix_ms, char text[TIME_TEXT_SIZE]);

#endif
