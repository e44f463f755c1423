/* YAML 1.2 as JSON values: one document, whose plain scalars are null, true and false, decimal
 * numbers, and else text. JSON has nothing for aliases (which could also make much out of little),
 * tags, several documents, and keys that are no text or stand twice: they are refused.
 */
#ifndef COMMON_YAML_H
#define COMMON_YAML_H

#include <jansson.h>

#include "common/attributes.h"
#include "common/failure.h"
#include "common/slice.h"

#define YAML_DEPTH_MAX 64

/* NULL with the reason and the line. The caller owns the value. */
MUST_USE json_t *yaml_parse(struct slice text, struct failure *failure);

#endif
