#include "auth/command/print.h"

#include <stdio.h>

/* In characters: UTF-8 continuation bytes do not count. */
static int width(const char *text)
{
    int characters = 0;

    for (; *text != '\0'; ++text)
        characters += ((unsigned char)*text & 0xC0) != 0x80;
    return characters;
}

static const char *shown(const char *cell)
{
    return cell != NULL ? cell : "-";
}

static void print_row(const char *const *cells, size_t columns, const int *widths)
{
    for (size_t i = 0; i != columns; ++i) {
        const char *text = shown(cells[i]);

        printf("%s%*s", text, i == columns - 1 ? 0 : widths[i] - width(text) + 2, "");
    }
    putchar('\n');
}

void print_table(const char *const *names, size_t columns, const char *const *cells, size_t rows)
{
    int widths[PRINT_COLUMNS_MAX] = {0};

    for (size_t i = 0; i != columns; ++i) {
        widths[i] = width(names[i]);
        for (size_t row = 0; row != rows; ++row) {
            int needed = width(shown(cells[row * columns + i]));

            widths[i] = needed > widths[i] ? needed : widths[i];
        }
    }
    print_row(names, columns, widths);
    for (size_t row = 0; row != rows; ++row)
        print_row(cells + row * columns, columns, widths);
}

static bool dump(json_t *value)
{
    bool dumped = value != NULL && json_dumpf(value, stdout, JSON_COMPACT) == 0;

    json_decref(value);
    return dumped;
}

bool print_json(json_t *value, struct failure *failure)
{
    if (!dump(value) || putchar('\n') == EOF)
        return failure_set(failure, "cannot print the JSON text");
    return true;
}

bool print_json_rows(size_t rows, json_t *(*row_json)(const void *context, size_t row),
                     const void *context, struct failure *failure)
{
    fputs("[", stdout);
    for (size_t row = 0; row != rows; ++row) {
        fputs(row == 0 ? "\n" : ",\n", stdout);
        if (!dump(row_json(context, row)))
            return failure_set(failure, "cannot print the JSON text");
    }
    fputs(rows == 0 ? "]\n" : "\n]\n", stdout);
    return true;
}
