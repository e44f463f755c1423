#include "common/time_text.h"

#include <string.h>
#include <time.h>

#define DAY_MS      86400000
#define DATE_LENGTH 10
#define LAST_MS     253402300799999 /* RFC 3339 has years of four digits */

static char *append_digits(char *to, int64_t number, int digits)
{
    for (int i = digits; i-- != 0; number /= 10)
        to[i] = (char)('0' + number % 10);
    return to + digits;
}

/* The date of a day counted from 1970. gmtime_r takes a process-wide lock, so its result is cached,
 * for two days: a token issued today may expire tomorrow. */
static const char *date_of(int64_t day)
{
    static _Thread_local struct {
        int64_t day;
        char text[DATE_LENGTH];
    } known[2] = {{.day = -1}, {.day = -1}};
    time_t seconds = (time_t)(day * (DAY_MS / 1000));
    struct tm utc;
    char *to = known[day & 1].text;

    if (known[day & 1].day != day) {
        gmtime_r(&seconds, &utc);
        to = append_digits(to, utc.tm_year + 1900, 4);
        *to++ = '-';
        to = append_digits(to, utc.tm_mon + 1, 2);
        *to++ = '-';
        append_digits(to, utc.tm_mday, 2);
        known[day & 1].day = day;
    }
    return known[day & 1].text;
}

void time_text_write(int64_t unix_ms, char separator, char *text)
{
    int64_t ms;

    unix_ms = unix_ms < LAST_MS ? unix_ms : LAST_MS;
    ms = unix_ms % DAY_MS;

    memcpy(text, date_of(unix_ms / DAY_MS), DATE_LENGTH);
    text += DATE_LENGTH;
    *text++ = separator;
    text = append_digits(text, ms / 3600000, 2);
    *text++ = ':';
    text = append_digits(text, ms / 60000 % 60, 2);
    *text++ = ':';
    text = append_digits(text, ms / 1000 % 60, 2);
    *text++ = '.';
    append_digits(text, ms % 1000, 3);
}

const char *time_text_format(int64_t unix_ms, char text[TIME_TEXT_SIZE])
{
    char whole[TIME_TEXT_LENGTH];

    time_text_write(unix_ms, 'T', whole);
    memcpy(text, whole, TIME_TEXT_SIZE - 2);
    text[TIME_TEXT_SIZE - 2] = 'Z';
    text[TIME_TEXT_SIZE - 1] = '\0';
    return text;
}
