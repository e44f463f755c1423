/* Names of the spool's files: a version 7 UUID, from format 2 on `.<format>`, then perhaps a
 * suffix. A program from before there were formats takes a name with one for none of the spool's.
 */
#ifndef COMMON_SPOOL_SPOOL_NAME_H
#define COMMON_SPOOL_SPOOL_NAME_H

#include <stdbool.h>

#include "common/attributes.h"
#include "common/uuid.h"

#define SPOOL_NAME_SIZE (UUID_TEXT_LENGTH + sizeof(".4294967295"))

/* Writes the name of a segment, and a NUL. */
void spool_name_write(const struct uuid *id, unsigned format, char name[SPOOL_NAME_SIZE]);

/* Reads both, and returns what follows them; NULL if the name does not begin with a UUID. */
const char *spool_name_read(const char *name, struct uuid *id, unsigned *format);

/* Reads the name of a segment: nothing follows. False for any other. */
MUST_USE bool spool_name_is_segment(const char *name, struct uuid *id, unsigned *format);

#endif
