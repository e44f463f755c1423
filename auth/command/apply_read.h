/* The files of `jotd apply`: read, their secrets hashed, and put together as one document. */
#ifndef AUTH_COMMAND_APPLY_READ_H
#define AUTH_COMMAND_APPLY_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

#define APPLY_READ_MAX (1024L * 1024 * 1024) /* bytes of a file */

/* Reads the files (`-`: stdin): YAML by their names, or JSON. The caller owns the document. NULL
 * with a reason that names the file. */
MUST_USE json_t *apply_read_files(const char *const *paths, size_t count, struct failure *failure);

#endif
