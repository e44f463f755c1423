#include "common/integer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

size_t integer_write(int64_t number, char *text)
{
    char digits[INTEGER_LENGTH_MAX], *start = digits + sizeof(digits);
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;
    size_t length;

    do {
        *--start = (char)('0' + left % 10);
        left /= 10;
    } while (left != 0);
    if (number < 0)
        *--start = '-';
    length = (size_t)(digits + sizeof(digits) - start);
    memcpy(text, start, length);
    return length;
}

bool integer_parse(const char *text, long long min, long long max, long long *number)
{
    const char *digits = *text == '-' && min < 0 ? text + 1 : text;

    if (*digits == '\0' || strspn(digits, "0123456789") != strlen(digits))
        return false;
    errno = 0;
    *number = strtoll(text, NULL, 10);
    return errno == 0 && *number >= min && *number <= max;
}
