/* Output of the commands: aligned columns for people, JSON for programs. */
#ifndef AUTH_COMMAND_PRINT_H
#define AUTH_COMMAND_PRINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/attributes.h"
#include "common/failure.h"

#define PRINT_COLUMNS_MAX 16

/* Prints the rows in aligned columns below the columns' names. `cells` are row by row; NULL is
 * printed as a dash. */
void print_table(const char *const *names, size_t columns, const char *const *cells, size_t rows);

/* Prints the value on one line and frees it; false if it is NULL or cannot be printed. */
MUST_USE bool print_json(json_t *value, struct failure *failure);

/* Prints a JSON array, one row per line. `row_json` makes each row in turn, so that the array need
 * not fit in memory. */
MUST_USE bool print_json_rows(size_t rows, json_t *(*row_json)(const void *context, size_t row),
                              const void *context, struct failure *failure);

#endif
