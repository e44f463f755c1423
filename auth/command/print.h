/* What commands print: aligned columns for people, JSON for programs. */
#ifndef AUTH_COMMAND_PRINT_H
#define AUTH_COMMAND_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

#define PRINT_COLUMNS_MAX 16

/* All rows in aligned columns under the columns' names. `cells` go row by row; NULL is a dash. */
void print_table(const char *const *names, size_t columns, const char *const *cells, size_t rows);

/* Prints the value on one line and frees it; false when it is NULL or cannot be printed. */
MUST_USE bool print_json(json_t *value, struct failure *failure);

/* A JSON array, one row a line, each made by `row_json`, so that it need not fit into memory. */
MUST_USE bool print_json_rows(size_t rows, json_t *(*row_json)(const void *context, size_t row),
                              const void *context, struct failure *failure);

#endif
