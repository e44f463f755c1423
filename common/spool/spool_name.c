#include "common/spool/spool_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX 9 /* of a format */

void spool_name_write(const struct uuid *id, unsigned format, char name[SPOOL_NAME_SIZE])
{
    uuid_format(id, name);
    name[UUID_TEXT_LENGTH] = '\0';
    if (format > 1)
        snprintf(name + UUID_TEXT_LENGTH, SPOOL_NAME_SIZE - UUID_TEXT_LENGTH, ".%u", format);
}

const char *spool_name_read(const char *name, struct uuid *id, unsigned *format)
{
    const char *rest = name + UUID_TEXT_LENGTH;
    size_t digits;

    if (strlen(name) < UUID_TEXT_LENGTH || !uuid_parse((struct slice){name, UUID_TEXT_LENGTH}, id))
        return NULL;
    *format = 1;
    digits = *rest == '.' ? strspn(rest + 1, "0123456789") : 0;
    if (digits == 0 || digits > DIGITS_MAX || rest[1] == '0' || strtoul(rest + 1, NULL, 10) == 1)
        return rest; /* one file has one name: neither .1 nor .02 is a format */
    *format = (unsigned)strtoul(rest + 1, NULL, 10);
    return rest + 1 + digits;
}

bool spool_name_is_segment(const char *name, struct uuid *id, unsigned *format)
{
    const char *rest = spool_name_read(name, id, format);

    return rest != NULL && *rest == '\0';
}
