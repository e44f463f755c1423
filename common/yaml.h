/* YAML 1.2 as JSON values: one document, whose plain scalars are null, true and false, decimal
 * numbers, and otherwise text. Refuses what JSON lacks: aliases (which could also expand a small
 * text to a huge value), tags, several documents, and keys that are not text or are repeated.
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
