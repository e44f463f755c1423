#include "common/failure.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool failure_set(struct failure *failure, const char *format, ...)
{
    va_list values;

    va_start(values, format);
    vsnprintf(failure->reason, sizeof(failure->reason), format, values);
    va_end(values);
    return false;
}

void failure_one_line(struct failure *failure)
{
    char *end = failure->reason + strlen(failure->reason);

    for (char *c = failure->reason; c != end; ++c) {
        if ((unsigned char)*c < ' ')
            *c = ' ';
    }
    while (end != failure->reason && end[-1] == ' ')
        *--end = '\0';
}
